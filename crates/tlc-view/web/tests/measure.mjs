// What the page and its server take, in time, bytes and memory: the program that `cargo xtask bench --peers --only view` runs.
//   TLC_BIN=…/tlc node tests/measure.mjs '{"project": folder, "run": name, "epochs": n, "rows": n, "table": url, "many": n, "rounds": n}'
// Prints one JSON object of series: milliseconds, megabytes (10⁶ bytes), bytes. The browser runs already and has an empty tab,
// as that of whoever types `tlc view`.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { gzipSync } from "node:zlib";
import { check, close, closePages, counts, ellipse, launch, middle, press, settle, show } from "./lib.mjs";
import { cleanUp, serve } from "./serve.mjs";

const job = JSON.parse(process.argv[2]);
const report = {};
const note = (values) => { for (const [name, value] of Object.entries(values)) (report[name] ??= []).push(value); };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The body of an answer as it comes over the wire. */
const fetched = (url) => new Promise((done, failed) => get(url, { headers: { "accept-encoding": "gzip" } }, (answer) => {
  const parts = [];
  answer.on("data", (part) => parts.push(part));
  answer.on("end", () => (answer.statusCode === 200 ? done(Buffer.concat(parts)) : failed(new Error(`${url}: ${answer.statusCode}`))));
}).on("error", failed));

/** Of a process: what it has written and shares with nobody, and all of its that is in memory, files of programs among it. */
function memory(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const of = (name) => Number(text.match(new RegExp(`^${name}:\\s+(\\d+) kB`, "m"))[1]) * 1024 / 1e6;
  return { own: of("Private_Dirty"), resident: of("Rss") };
}

/** The memory of the browser's processes of a type; of several the largest, since an empty tab may have one, too. */
async function browserMemory(type) {
  const session = await (await launch()).newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const found = processInfo.filter((process) => process.type === type).map(({ id }) => memory(id).own);
  check(found.length > 0, `the browser has a ${type} process`);
  return Math.max(...found);
}

/** Starts the server and opens its page, up to the first picture, which the renderer has finished. */
async function picture(...what) {
  const context = await (await launch()).newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  const start = performance.now();
  const server = await serve(...what);
  await page.goto(server.url);
  await page.evaluate(async () => {
    await window.__tlc.ready;
    // Reading a pixel waits for everything that was asked of the renderer.
    const gl = document.querySelector("canvas.gl").getContext("webgl2");
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  });
  const ms = performance.now() - start;
  return { server, page, ms };
}

/** What the page has fetched: path, bytes over the wire, milliseconds from request to end. */
const answers = (page) => page.evaluate(() => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/api/"))
  .map(({ name, transferSize, requestStart, responseEnd }) => ({ path: name.replace(/.*\/api\//, ""), bytes: transferSize, ms: responseEnd - requestStart })));
/** Waits until the places of so many tables are there, and for what was asked for beside them. */
async function haveCome(page, tables) {
  const asked = (tables) => performance.getEntriesByType("resource").filter(({ name }) => name.includes("/api/coords")).length >= tables;
  await page.waitForFunction(asked, tables);
  await settle(page, 1000);
}
const bytesOf = (all, part = "") => all.filter(({ path }) => path.startsWith(part)).reduce((sum, { bytes }) => sum + bytes, 0);

async function start() {
  const begun = performance.now();
  const server = await serve(job.run, "--project", job.project);
  const address = performance.now() - begun;
  await fetched(server.url);
  note({ start_address: address, start_answer: performance.now() - begun });
  await pause(1000);
  const { own, resident } = memory(server.pid);
  note({ started_own: own, started_resident: resident });
  await server.stop();
}

/** A run of many epochs. */
async function epochs() {
  const { server, page, ms } = await picture(job.run, "--project", job.project);
  const { shown, visible } = await counts(page);
  check(shown === job.rows && visible === job.rows, `${job.rows} points are shown, not ${visible} of ${shown}`);
  await haveCome(page, job.epochs);
  const all = await answers(page);
  const of = (part) => all.filter(({ path }) => path.startsWith(part));
  check(of("coords").length === job.epochs, `all ${job.epochs} epochs are fetched, not ${of("coords").length}`);
  const points = job.rows * job.epochs;
  note({ epochs_picture: ms, epochs_manifest: of("manifest")[0].ms, epochs_bytes: bytesOf(all) / points, epochs_places: bytesOf(all, "coords") / points });
  await closePages();
  await pause(1000);
  const { own, resident } = memory(server.pid);
  note({ shown_own: own, shown_resident: resident });
  const files = await Promise.all(["", "app.js", "app.css"].map((path) => fetched(new URL(path, server.url))));
  note({ bundle: files.reduce((sum, { length }) => sum + length, 0) });
  const places = await fetched(new URL(`api/coords?layout=0&table=${job.epochs - 1}`, server.url));
  const begun = performance.now();
  note({ gzip_share: gzipSync(places, { level: 1 }).length / places.length, gzip: performance.now() - begun });
  await server.stop();
}

/** One table of many rows, in the plane and in space. */
async function many() {
  const { server, page, ms } = await picture(job.table);
  await haveCome(page, 1);
  const first = await answers(page);
  note({ many_picture: ms, many_bytes: bytesOf(first) / job.many, many_places_2d: bytesOf(first, "coords") / job.many });
  for (const dims of [2, 3]) {
    await show(page, dims);
    if (dims === 3) {
      await haveCome(page, 2);
      note({ many_places_3d: bytesOf(await answers(page), "coords") / job.many - report.many_places_2d[0] });
    }
    const { shown } = await counts(page);
    check(shown === job.many, `${job.many} points are shown, not ${shown}`);
    const [x, y, w, h] = await middle(page);
    // The key takes the tool and lays it down again.
    if (dims === 2) await press(page, "e");
    for (let round = 0; round < job.rounds; round++) {
      // Nothing that the lasso before has worked out holds for another camera.
      await press(page, round % 2 ? "ArrowLeft" : "ArrowRight");
      await ellipse(page, x, y, w * 0.3, h * 0.3);
      const { selected } = await counts(page);
      check(selected > job.many / 20 && selected < job.many, `a lasso selects some points (${selected})`);
      note({ [`lasso_${dims}d`]: await page.evaluate(() => window.__tlc.lassoMs) });
      // So that the next one is known to have selected.
      await press(page, "Escape");
    }
  }
  await settle(page, 1000);
  note({ page_own: await browserMemory("renderer"), gpu_own: await browserMemory("GPU"), renderer: await page.evaluate(() => window.__tlc.gl) });
  await closePages();
  await server.stop();
}

// Pages of a program's file that the system has not written to disk yet would count as the process's own.
execFileSync("sync");
try {
  note({ browser: `Chromium ${(await launch()).version()}` });
  for (let round = 0; round < job.rounds; round++) { await start(); await epochs(); }
  await many();
} finally {
  await close();
  cleanUp();
}
console.log(JSON.stringify(report));
process.exit(0);
