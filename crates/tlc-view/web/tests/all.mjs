// Runs the tests of the page in a headless Chromium: node tests/all.mjs [part of a name]
//   TLC_BIN=…/tlc TLC_VIEW_PROJECT=…   starts the binary on that project and on tables that the tests make
//   TLC_VIEW_URL=http://…              instead: tests what is served there, without the tests that need a binary
//   TLC_VIEW_ALLOW_SKIPS=1             do not fail where the run lacks what a test needs, or there is no binary
//   TLC_VIEW_DIST=dist                 the page of this folder in place of the one in the binary, which may be older
//   TLC_VIEW_SHOTS=folder              where screenshots go;  TLC_CHROMIUM=…  the browser
// Numbers of the run are never assumed; what is there is read from window.__tlc.
import { check, close, closePages, need, setBase, Skip, tests } from "./lib.mjs";
import { bin, cleanUp, project, serve } from "./serve.mjs";
import "./map.mjs";
import "./panels.mjs";
import "./access.mjs";
import "./trouble.mjs";
import "./data.mjs";
import "./file.mjs";
import "./docs.mjs";

const url = process.env.TLC_VIEW_URL;
if (!url && !(bin && project)) {
  console.error("set TLC_BIN and TLC_VIEW_PROJECT (see `tlc demo --no-view`), or TLC_VIEW_URL to the address of a served run");
  process.exit(2);
}
// The browser ends by itself; servers and tables are ours.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => { cleanUp(); process.exit(130); });
const wanted = process.argv[2] ?? "";
let failed = 0, skipped = 0;
try {
  setBase(url ?? (await serve("--project", project)).url);
  for (const { name, run, needsBinary } of tests.filter((t) => t.name.includes(wanted))) {
    const start = Date.now();
    try {
      need(!needsBinary || (bin && project), "TLC_BIN and TLC_VIEW_PROJECT");
      const page = await run();
      if (page) check(page.troubles.length === 0, `the page complained: ${page.troubles.join("\n")}`);
      console.log(`ok    ${name} (${Date.now() - start} ms)`);
    } catch (error) {
      if (error instanceof Skip) { skipped++; console.log(`skip  ${name}: ${error.message}`); continue; }
      failed++;
      console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").slice(0, 6).join("\n      ")}`);
    } finally { await closePages(); }
  }
} finally {
  await close();
  cleanUp();
}
const allowed = Boolean(process.env.TLC_VIEW_ALLOW_SKIPS);
console.log([failed === 0 ? "none failed" : `${failed} failed`, skipped > 0 ? `${skipped} skipped${allowed ? "" : ", which TLC_VIEW_ALLOW_SKIPS=1 allows"}` : "none skipped"].join(", "));
process.exit(failed === 0 && (skipped === 0 || allowed) ? 0 : 1);
