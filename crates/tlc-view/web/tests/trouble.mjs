// What goes wrong is told, and never leaves a blank page.
import { readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { check, counts, lassoMiddle, need, open, positions, settle, shot, state, test, testOwn } from "./lib.mjs";
import { copyOfProject, serve } from "./serve.mjs";

testOwn("server gone: says so and what to do, and goes on with what is there", async () => {
  const server = await serve("--project", copyOfProject());
  const page = await open({ url: server.url });
  await server.stop();
  await page.getByRole("tab", { name: "Numbers" }).click();
  await settle(page, 600);
  const told = await page.locator("#panel-3").textContent();
  check(/server is gone/i.test(told) && /tlc view/.test(told), "the panel says it, and what to do");
  await shot(page, "server-gone");
  await page.locator(".surface").focus();
  await page.keyboard.press("Control+a");
  await settle(page);
  check((await counts(page)).selected > 0, "the map still works");
  return page;
});

testOwn("table deleted meanwhile: explains, and reads the list again", async () => {
  const project = copyOfProject();
  const server = await serve("--project", project);
  const page = await open({ url: server.url });
  const { layouts } = await state(page);
  need(layouts.length > 1, "two layouts");
  const reduced = join(project, "runs", readdirSync(join(project, "runs"))[0], "reduced");
  for (const table of readdirSync(reduced)) renameSync(join(reduced, table), join(project, table));
  const other = layouts.findLast((layout) => layout.id !== layouts[0].id);
  await page.locator(".view-bar select").first().selectOption(String(other.id));
  await page.waitForFunction(() => document.querySelector(".trouble")?.checkVisibility());
  const box = page.locator(".trouble");
  check(/deleted|gone|not found/i.test(await box.textContent()), `the message says what happened: ${await box.textContent()}`);
  await shot(page, "table-gone");
  for (const table of readdirSync(project).filter((name) => name.endsWith(".lance"))) renameSync(join(project, table), join(reduced, table));
  await box.getByRole("button").click();
  await settle(page, 900);
  check(!(await box.isVisible()), "once the tables are there, reading again brings the map back");
  return page;
});

testOwn("the newest epoch's tables are gone before the page is opened: it says so, and everything else works", async () => {
  const project = copyOfProject();
  const server = await serve("--project", project);
  // The server knows its tables from now on, and has not read them yet.
  const { tables } = await (await fetch(new URL("api/manifest", server.url))).json();
  const last = Math.max(...tables.map((table) => table.epoch));
  need(tables.some((table) => table.epoch < last), "several epochs");
  for (const { urls } of tables.filter((table) => table.epoch === last)) for (const url of urls) renameSync(fileURLToPath(url), join(project, url.split("/").at(-1)));
  const page = await open({ url: server.url });
  // What is asked for next tells the page that the list is old.
  await page.waitForFunction((n) => window.__tlc.state().steps.length === n && window.__tlc.state().trouble === null, last);
  check(/gone/i.test(await page.locator(".notice.bad").textContent()), `it is told: ${await page.locator(".notice.bad").textContent()}`);
  await page.getByRole("tab", { name: "Find" }).click();
  await settle(page);
  check((await page.locator(".finder").count()) > 0, "the finders are there");
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 600);
  check((await page.locator(".t-row").count()) > 5, "the table has rows");
  // Earlier epochs can still be looked at, and are fetched ahead as ever.
  await page.evaluate(() => window.__tlc.setTime(0));
  await page.waitForFunction(() => window.__tlc.state().trouble === null && window.__tlc.project(0) !== null);
  check(!(await page.locator(".trouble").isVisible()), "the epoch before is on the map");
  return page;
});

testOwn("a damaged table: the others are shown, the page says what is missing, and reads it once it is whole", async () => {
  const project = copyOfProject();
  const reduced = join(project, "runs", readdirSync(join(project, "runs"))[0], "reduced");
  const data = join(reduced, readdirSync(reduced)[0], "data");
  const file = join(data, readdirSync(data)[0]), whole = readFileSync(file);
  writeFileSync(file, "damaged");
  const page = await open({ url: (await serve("--project", project)).url });
  const { tables } = await page.evaluate(() => fetch("api/manifest").then((answer) => answer.json()));
  check((await counts(page)).visible > 0, "there is a map of the others");
  const notice = page.locator(".notice.bad");
  check(/left out/.test(await notice.textContent()) && (await notice.textContent()).includes(readdirSync(reduced)[0]), `the table is named: ${await notice.textContent()}`);
  writeFileSync(file, whole);
  await page.getByRole("button", { name: "Read the list again" }).click();
  await page.waitForFunction(() => document.querySelector(".notice.bad") === null);
  const now = await page.evaluate(() => fetch("api/manifest").then((answer) => answer.json()));
  check(now.tables.length === tables.length + 1, `it is among the ${now.tables.length} tables`);
  return page;
});

testOwn("a run that is being written: new epochs appear by themselves", async () => {
  const project = copyOfProject();
  const path = join(project, "runs", readdirSync(join(project, "runs"))[0], "run.json");
  const whole = readFileSync(path, "utf8");
  const record = JSON.parse(whole);
  const last = Math.max(...record.metrics.map((table) => table.constants.epoch));
  record.status = "running";
  record.metrics = record.metrics.filter((table) => table.constants.epoch < last);
  writeFileSync(path, JSON.stringify(record));
  const server = await serve("--project", project);
  const page = await open({ url: server.url });
  const before = (await state(page)).steps.length;
  check((await page.locator(".status").textContent()) === "running", "the page says that it runs");
  writeFileSync(path, whole);
  await page.waitForFunction((n) => window.__tlc.state().steps.length > n, before, { timeout: 30_000 });
  check((await state(page)).step === before, "whoever looks at the newest epoch follows it");
  await page.waitForFunction(() => document.querySelector(".status")?.textContent === "completed");
  return page;
});

/** Serves a copy of the project whose run has not got its first split yet; `complete` gives it. */
async function serveWithoutFirstSplit() {
  const project = copyOfProject();
  const path = join(project, "runs", readdirSync(join(project, "runs"))[0], "run.json");
  const whole = readFileSync(path, "utf8");
  const record = JSON.parse(whole);
  const first = record.metrics[0].constants.split;
  record.metrics = record.metrics.filter((table) => table.constants.split !== first);
  check(record.metrics.length > 0, "the run has two splits");
  writeFileSync(path, JSON.stringify(record));
  return { url: (await serve("--project", project)).url, complete: () => writeFileSync(path, whole) };
}
const amounts = (page) => page.locator(".legend-row").evaluateAll((rows) => rows.map((row) => row.textContent));
const selected = (page, dataset) => page.evaluate((dataset) => window.__tlc.selected(dataset), dataset);

testOwn("a dataset comes before the one shown: colours, selection and sample stay with their points", async () => {
  const { url, complete } = await serveWithoutFirstSplit();
  const page = await open({ url });
  const { datasets: [only], step } = await state(page);
  await lassoMiddle(page, 0.2);
  const [first] = await positions(page, 500);
  await page.mouse.dblclick(first.x, first.y);
  await lassoMiddle(page, 0.2);
  const before = { selected: await selected(page, only.id), amounts: await amounts(page), sample: (await state(page)).sample };
  check(before.selected.length > 0 && before.sample !== null, "points are selected and one is open");
  complete();
  // Whoever comes back to the page sees what has come meanwhile, though the run is over.
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  await page.waitForFunction(() => window.__tlc.state().datasets.length === 2, null, { timeout: 10_000 });
  await settle(page, 900);
  const now = await state(page);
  const same = now.datasets.find((dataset) => dataset.name === only.name);
  check(same.id !== only.id, "its number is another one now");
  check(now.step === step && now.views[0].dataset === same.id, "the map shows the same dataset");
  check(JSON.stringify(await selected(page, same.id)) === JSON.stringify(before.selected), "the same points are selected");
  check(now.sample?.dataset === same.id && now.sample.slot === before.sample.slot, "the same sample is open");
  check(JSON.stringify(await amounts(page)) === JSON.stringify(before.amounts), "its classes have as many points as before");
  await page.locator(".surface").focus();
  await page.keyboard.press("Escape");
  await page.getByRole("combobox", { name: "Dataset" }).first().selectOption("-1");
  await settle(page, 900);
  const fresh = await open({ url });
  check(JSON.stringify(await amounts(page)) === JSON.stringify(await amounts(fresh)), "and both together as on a page that is opened now");
  await fresh.context().close();
  return page;
});

testOwn("numbers of an older manifest are refused, and the page reads the newer one by itself", async () => {
  const { url, complete } = await serveWithoutFirstSplit();
  const page = await open({ url });
  check((await state(page)).datasets.length === 1, "one dataset is there");
  complete();
  await page.getByRole("tab", { name: "Find" }).click();
  await page.locator(".finder:not([disabled])").first().click();
  await page.waitForFunction(() => window.__tlc.state().datasets.length === 2, null, { timeout: 10_000 });
  await page.getByRole("button", { name: "Find again" }).click();
  await page.locator(".found-row").first().waitFor({ timeout: 30_000 });
  check((await state(page)).trouble === null, "the map stays");
  return page;
});

test("a damaged link: the page opens without what does not fit, and says so", async () => {
  const plain = await open();
  const { columns, datasets } = await state(plain);
  const { shown } = await counts(plain);
  await plain.context().close();
  const coded = columns.find((c) => c.kind === "category" || c.kind === "boolean");
  check(coded !== undefined, "the run has a column of classes");
  const huge = Buffer.from([255, 255, 255, 255, 255, 255, 127, 0]).toString("base64url");
  const parts = [`h=${huge} =${coded.name}`, "h=AgA =nowhere", "h=%%% dataset", "f=1 2 nowhere", `f=0 1 ${coded.name}`, "c=rainbow", "e=n1.5", `s=${datasets[0].id} !!`, "s=99 AgA", "l=9_9", "v0=a_b"];
  for (const hash of [parts[0], parts.slice(1).join("&")]) {
    const page = await open({ hash: `#${hash.replaceAll(" ", "+")}` });
    const now = await state(page);
    check(now.started && (await counts(page)).visible === shown && now.hidden === 0 && Object.keys(now.filters).length === 0, `${hash}: all points are there`);
    check(page.troubles.length === 0, `${hash}: ${page.troubles.join("\n")}`);
    check(/left out/.test(now.notice?.text ?? ""), `${hash}: it is told (${now.notice?.text})`);
    await page.context().close();
  }
});

test("server gone at the start: not a blank page", async () => {
  const page = await open({ before: (page) => page.route("**/api/manifest*", (route) => route.abort()) });
  check(/server is gone/i.test(await page.locator(".trouble").textContent()), "a message is shown");
  return page;
});

test("a run that is gone: says so, and leads to the one that the server shows", async () => {
  const plain = await open();
  const { pathname } = new URL(plain.url());
  const page = await open({ url: new URL("?run=no-such-run", plain.url()).href });
  check(/no-such-run/.test(await page.locator(".trouble").textContent()), "the message names the run");
  await page.getByRole("link", { name: "server's own run" }).click();
  await page.waitForFunction(() => window.__tlc?.state().started);
  check(new URL(page.url()).pathname === pathname && !page.url().includes("run="), `the address names no run (${page.url()})`);
  await plain.context().close();
  return page;
});

test("lost graphics context comes back", async () => {
  const page = await open();
  const ok = await page.evaluate(async () => {
    const restore = window.__tlc.loseContext();
    await new Promise((done) => setTimeout(done, 200));
    const lost = window.__tlc.state().trouble !== null;
    restore();
    await new Promise((done) => setTimeout(done, 500));
    return lost && window.__tlc.state().trouble === null;
  });
  check(ok, "it is said, and then the map is back");
  return page;
});

test("no WebGL2: a message, and the table still works", async () => {
  const page = await open({ before: (page) => page.addInitScript(() => {
    const real = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) { return kind === "webgl2" ? null : real.call(this, kind, ...rest); };
  }) });
  check(/no WebGL2/.test(await page.locator(".trouble").textContent()), "the message is shown");
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 500);
  check((await page.locator(".t-row").count()) > 0, "the table has rows");
  return page;
});

