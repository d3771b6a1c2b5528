// Runs the tests of the page in a headless Chromium: node tests/all.mjs [part of a name]
//   TLC_BIN=…/tlc TLC_VIEW_PROJECT=…   starts the binary on that project and on tables that the tests make
//   TLC_VIEW_URL=http://…              instead: tests what is served there, without the tests that need a binary
//   TLC_VIEW_DIST=dist                 the page of this folder in place of the one in the binary, which may be older
//   TLC_VIEW_SHOTS=folder              where screenshots go;  TLC_CHROMIUM=…  the browser
// Numbers of the run are never assumed; what is there is read from window.__tlc.
import { check, close, setBase, tests } from "./lib.mjs";
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
let failed = 0, left = 0;
try {
  setBase(url ?? (await serve("--project", project)).url);
  for (const { name, run, needsBinary } of tests.filter((t) => t.name.includes(wanted))) {
    if (needsBinary && !(bin && project)) { left++; continue; }
    const start = Date.now();
    try {
      const page = await run();
      if (page) {
        check(page.troubles.length === 0, `the page complained: ${page.troubles.join("\n")}`);
        await page.context().close();
      }
      console.log(`ok    ${name} (${Date.now() - start} ms)`);
    } catch (error) {
      failed++;
      console.log(`FAIL  ${name}\n      ${String(error.message ?? error).split("\n").slice(0, 6).join("\n      ")}`);
    }
  }
} finally {
  await close();
  cleanUp();
}
if (left > 0) console.log(`${left} not run: they need TLC_BIN and TLC_VIEW_PROJECT`);
console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
