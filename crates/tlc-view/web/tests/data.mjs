// Tables that are strange in one way each, made by the tests and served by the real binary.
import { readFileSync } from "node:fs";
import { check, counts, lassoMiddle, looks, need, open, positions, press, settle, shot, state, testOwn } from "./lib.mjs";
import { classes, file, filePath, role, serve, spiral, table } from "./serve.mjs";

const map = (values) => ({ kind: "map2", values, metadata: role("reduced_embedding") });
const label = (values, names) => ({ kind: "class", values, metadata: role("label", classes(names)) });

/** Opens the page on a new table. */
async function openTable(name, columns, options = {}) {
  const server = await serve(table(name, columns));
  return open({ url: server.url, ...options });
}

testOwn("one row: a map with one point", async () => {
  const page = await openTable("one", { map: map([[1, 2]]), label: label([0], ["only"]) });
  check((await counts(page)).shown === 1, "the point is there");
  await press(page, "Control+a");
  check((await counts(page)).selected === 1, "and can be selected");
  await press(page, "z", "+", "f");
  await shot(page, "one-row");
  return page;
});

testOwn("a lasso over many points selects those inside it, and no others", async () => {
  const n = 10_000;
  const page = await openTable("large", { map: map(spiral(n)) });
  const [x, y, w, h] = await lassoMiddle(page, 0.3);
  const { selected, shown } = await counts(page);
  check(shown === n && selected > n / 20 && selected < n, `it selects some of them (${selected})`);
  // The lasso has 28 corners on an ellipse, at whole pixels: what lies close to it may be in or out.
  const wrong = await page.evaluate(({ n, x, y, rx, ry }) => {
    const chosen = new Set(window.__tlc.selected(0));
    let wrong = 0;
    for (let slot = 0; slot < n; slot++) {
      const [px, py] = window.__tlc.project(slot);
      const r = Math.hypot((px - x) / rx, (py - y) / ry);
      if ((r < 0.98 && !chosen.has(slot)) || (r > 1.01 && chosen.has(slot))) wrong++;
    }
    return wrong;
  }, { n, x, y, rx: w * 0.3, ry: h * 0.3 });
  check(wrong === 0, `${wrong} points are on the wrong side`);
  return page;
});

/** Requests for columns from now on, by name. */
function askedColumns(page) {
  const asked = [];
  page.on("request", (request) => { const { pathname, searchParams } = new URL(request.url()); if (pathname.endsWith("api/column")) asked.push(searchParams.get("name")); });
  return asked;
}
const many = (n, names) => Object.fromEntries(names.map((name, k) => [name, { kind: "number", values: Array.from({ length: n }, (_, i) => ((i * (k + 3)) % 97) / 7 + k) }]));

testOwn("more columns than are kept: each is asked for once, and all are shown", async () => {
  const n = 500, names = Array.from({ length: 14 }, (_, k) => `value${k}`);
  const page = await openTable("wide", { map: map(spiral(n)), ...many(n, names), label: label(Array.from({ length: n }, (_, i) => i % 2), ["a", "b"]) }, { width: 1700 });
  await page.evaluate((bytes) => window.__tlc.limitColumns(bytes), 4 * 4 * n);
  const asked = askedColumns(page);
  const quiet = async (what, most) => {
    for (let before = -1; before !== asked.length && asked.length <= most;) { before = asked.length; await settle(page, 900); }
    check(asked.length <= most, `${what}: the requests have no end (${asked})`);
    asked.length = 0;
  };
  await page.locator(".surface").focus();
  await press(page, "Control+a");
  await quiet("Selection", 3 * names.length);
  const told = await page.locator(".column-card:visible").evaluateAll((cards) => cards.map((card) => card.textContent));
  check(names.every((name) => told.some((text) => text.startsWith(name) && /mean \d/.test(text))), `every column has its histogram (${told.length})`);
  await page.getByRole("separator", { name: "Width of the panel" }).focus();
  for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowLeft");
  await page.getByRole("tab", { name: "Table" }).click();
  await quiet("Table", 2 * names.length);
  const cells = await page.locator(".t-row").first().locator(".t-cell.number").evaluateAll((all) => all.filter((cell) => cell.offsetLeft < cell.closest(".t-scroll").clientWidth).map((cell) => cell.textContent));
  check(cells.length > 8 && !cells.includes("…"), `every cell in sight has its value (${cells})`);
  check((await page.evaluate(() => window.__tlc.memory)).columns <= 5 * 4 * n, "and no more is kept than may be");
  return page;
});

testOwn("the table's order is the one asked for last, and that of the rows if it cannot be had", async () => {
  const n = 200, names = ["slow", "quick", "gone"];
  const page = await openTable("orders", { map: map(spiral(n)), ...many(n, names) });
  await page.evaluate(() => window.__tlc.limitColumns(0));
  await page.route(/column\?name=slow/, async (route) => { await new Promise((done) => setTimeout(done, 700)); await route.continue(); });
  await page.route(/column\?name=gone/, (route) => route.fulfill({ status: 404, contentType: "application/json", body: JSON.stringify({ error: "The column is gone.", advice: "" }) }));
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 1200);
  const head = (name) => page.getByRole("columnheader", { name });
  const ids = () => page.locator(".t-row").evaluateAll((rows) => rows.slice(0, 12).map((row) => Number(row.children[0].textContent)));
  const sorted = (k) => Array.from({ length: n }, (_, i) => i).sort((a, b) => (a * (k + 3)) % 97 - (b * (k + 3)) % 97 || a - b).slice(0, 12);
  await head("slow").getByRole("button").click();
  await head("quick").getByRole("button").click();
  await settle(page, 1500);
  check((await head("quick").getAttribute("aria-sort")) === "ascending" && JSON.stringify(await ids()) === JSON.stringify(sorted(1)), `sorted by the column clicked last (${await ids()})`);
  await head("gone").getByRole("button").click();
  await settle(page, 600);
  check((await page.locator(".notice.bad").textContent()).includes("The column is gone."), "what cannot be had is told");
  check((await head("gone").getAttribute("aria-sort")) === "none" && (await ids()).every((id, i) => id === i), `and the rows are in their own order (${await ids()})`);
  return page;
});

testOwn("1,000 classes: distinct colours, a legend with search", async () => {
  const n = 3000;
  const names = Array.from({ length: 1000 }, (_, i) => `class ${i}`);
  const page = await openTable("classes", { map: map(spiral(n)), label: label(Array.from({ length: n }, (_, i) => i % 1000), names) });
  const rows = page.locator(".legend-row");
  check((await rows.count()) > 20 && (await rows.count()) < 200, "the legend holds the most frequent");
  const colours = await page.locator(".legend-row .swatch").evaluateAll((all) => all.slice(0, 100).map((node) => getComputedStyle(node).backgroundColor));
  check(new Set(colours).size === 100, `a hundred classes have as many colours (${new Set(colours).size})`);
  await page.getByRole("searchbox", { name: "Search classes" }).fill("class 777");
  await settle(page);
  check((await rows.count()) === 1, "the search finds one");
  await rows.locator(".legend-toggle").click({ modifiers: ["Alt"] });
  await settle(page);
  check((await counts(page)).visible === 3, "and isolates it");
  await shot(page, "many-classes");
  return page;
});

testOwn("NaN coordinates and values: counted, never drawn, never in a selection", async () => {
  const places = spiral(300).map((place, i) => (i % 3 === 0 ? [NaN, place[1]] : i === 1 ? [Infinity, 0] : place));
  const page = await openTable("nan", { map: map(places), loss: { kind: "number", values: places.map((_, i) => (i % 2 ? NaN : i)), metadata: role("loss") } });
  check(/101 without a position/.test(await page.locator(".status-line").textContent()), "the page says how many have no place");
  check((await page.evaluate(() => window.__tlc.project(0))) === null, "a point without a place is nowhere");
  await press(page, "b");
  await page.mouse.move(70, 400);
  const box = await page.locator(".surface").boundingBox();
  await page.mouse.move(box.x + 60, box.y + 420);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 5, box.y + box.height - 5, { steps: 3 });
  await page.mouse.move(box.x + 60, box.y + 60);
  await page.mouse.up();
  await settle(page);
  check(!(await page.evaluate(() => window.__tlc.selected(0))).some((slot) => slot % 3 === 0), "a box selects none of them");
  await shot(page, "nan");
  return page;
});

testOwn("no place at all: the page says so", async () => {
  const page = await openTable("nowhere", { map: map([[NaN, NaN], [NaN, NaN]]), label: label([0, 1], ["a", "b"]) });
  check(/2 without a position/.test(await page.locator(".status-line").textContent()), "the status line says it");
  await press(page, "f", "z", "+");
  return page;
});

testOwn("all at one place: clicks go through them one by one", async () => {
  const page = await openTable("same", { map: map(Array.from({ length: 5 }, () => [3, 3])), label: label([0, 1, 0, 1, 0], ["a", "b"]) });
  const [x, y] = await page.evaluate(() => window.__tlc.project(0));
  const seen = new Set();
  for (let i = 0; i < 5; i++) {
    await page.mouse.click(x, y);
    await settle(page, 350);
    seen.add((await state(page)).sample?.slot);
  }
  check(seen.size === 5, `five clicks open five samples (${seen.size})`);
  return page;
});

testOwn("hostile names and texts stay texts", async () => {
  const evil = `"><img src=x onerror="__evil=1"><script>__evil=2</script>`;
  const names = [evil, "שלום עולם", "‮txt.exe", "", "   ", "a".repeat(300), "=1+1", "<b>bold</b>"];
  const n = 80;
  const page = await openTable("hostile", {
    map: map(spiral(n)), [evil]: { kind: "number", values: Array.from({ length: n }, (_, i) => i) },
    constructor: { kind: "number", values: Array.from({ length: n }, (_, i) => -i) },
    label: label(Array.from({ length: n }, (_, i) => i % names.length), names),
  });
  for (const tab of ["Table", "Find", "Numbers", "Selection"]) { await page.getByRole("tab", { name: tab }).click(); await settle(page, 400); }
  await page.locator(".surface").focus();
  await press(page, "c", "c", "c");
  await page.getByRole("slider", { name: `${evil} at least` }).press("ArrowRight");
  // The link is written a little later.
  await settle(page, 900);
  check((await counts(page)).visible < n, "a column with such a name filters");
  const other = await open({ url: page.url() });
  check((await counts(other)).visible === (await counts(page)).visible, "and its filter travels in the link");
  await other.context().close();
  await press(page, "d");
  check((await page.evaluate(() => window.__evil)) === undefined, "nothing ran");
  check((await page.locator("#app img[src='x'], #app b b, #app script").count()) === 0, "no element came from a text");
  check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "a long name sticks out nowhere");
  await shot(page, "hostile-names");
  return page;
});

testOwn("the scale says how long it is", async () => {
  const page = await openTable("scale", { map: map([[0, 0], [10, 0], [0, 10], [10, 10]]) }, { before: (page) => page.addInitScript(() => {
    // The bar's corners are those before its number.
    const { lineTo, fillText } = CanvasRenderingContext2D.prototype;
    let corners = [];
    CanvasRenderingContext2D.prototype.lineTo = function (x, y) { corners = [...corners.slice(-2), x]; return lineTo.call(this, x, y); };
    CanvasRenderingContext2D.prototype.fillText = function (text, ...at) { if (this.textAlign === "right") window.scaleTold = { text, width: corners[1] - corners[0] }; return fillText.call(this, text, ...at); };
  }) });
  for (const key of ["f", "+", "-", "-"]) {
    await press(page, key);
    await settle(page, 700);
    const { text, width, ten } = await page.evaluate(() => ({ ...window.scaleTold, ten: window.__tlc.project(1)[0] - window.__tlc.project(0)[0] }));
    check(width > 20 && Math.abs(width / (Number(text) * ten / 10) - 1) < 0.01, `${text} is ${width} pixels wide, and 10 are ${ten}`);
  }
  return page;
});

testOwn("colours of numbers: one ramp, or two from nought", async () => {
  const n = 101;
  const page = await openTable("ramps", { map: map(spiral(n)), amount: { kind: "number", values: Array.from({ length: n }, (_, i) => i) }, change: { kind: "number", values: Array.from({ length: n }, (_, i) => i - 40) } });
  const ramp = async (name) => {
    await page.getByRole("combobox", { name: "Colour by" }).selectOption(`=${name}`);
    await settle(page, 500);
    const ends = await page.locator(".ramp-ends span").allTextContents();
    const colours = await page.locator(".ramp rect[height='6']").evaluateAll((all) => all.map((node) => node.getAttribute("fill").match(/\d+/g).map(Number)));
    return { ends: ends.map((text) => Number(text.replace("−", "-"))), light: colours.map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b), colours };
  };
  const one = await ramp("amount");
  check(JSON.stringify(one.ends) === "[0,100]", `from the least to the greatest (${one.ends})`);
  const up = one.light.filter((v, i) => i > 0 && v > one.light[i - 1]).length;
  check(up === one.light.length - 1 || up === 0, "lightness goes one way");
  const two = await ramp("change");
  check(JSON.stringify(two.ends) === "[-60,0,60]", `as far to both sides of nought (${two.ends})`);
  const middle = two.light.length >> 1, [first, last] = [two.colours[0], two.colours.at(-1)];
  check(two.light[middle] > two.light[0] && two.light[middle] > two.light.at(-1), "nought is the lightest");
  check((first[0] - first[2]) * (last[0] - last[2]) < 0, `the sides are of other hues (${first}; ${last})`);
  return page;
});

testOwn("points far outside the fit are hollow", async () => {
  const page = await openTable("outside", { map: map([[0, 0], [1, 0], [0, 1], [1, 1]]), map_ood: { kind: "number", values: [1, 9, 1, 9], metadata: role("out_of_distribution") } });
  need((await state(page)).layouts[0].ood, "the score is known as one");
  const ink = async () => (await looks(page, await positions(page))).map((look) => look.ink);
  const [near, far, ...more] = await ink();
  check(near > 200 && far < near / 3 && more[0] === near && more[1] === far, `their middle is all but empty (${[near, far, ...more]})`);
  await page.getByRole("checkbox", { name: "hollow" }).uncheck();
  await settle(page);
  check((await ink()).every((v) => v === near), "unless that is switched off");
  return page;
});

testOwn("samples that are texts", async () => {
  const n = 40;
  const page = await openTable("texts", { map: map(spiral(n)), text: { kind: "text", values: Array.from({ length: n }, (_, i) => `sentence number ${i}`), metadata: role("text") }, label: label(Array.from({ length: n }, (_, i) => i % 2), ["a", "b"]) });
  check((await state(page)).datasets[0].text, "the page knows that they are");
  await press(page, "Control+a");
  await page.waitForFunction(() => document.querySelectorAll(".text-cell").length > 5 && ![...document.querySelectorAll(".text-cell")].some((cell) => cell.textContent === "…"));
  const told = await page.locator(".text-cell").allTextContents();
  check(told.every((text, i) => text === `sentence number ${i}`) && told.length <= 30, `the selection lists them (${told.length})`);
  await page.locator(".text-cell").nth(7).click();
  await page.locator(".sample-text").waitFor();
  check((await page.locator(".sample-text").textContent()) === "sentence number 7", "a sample shows its text");
  await shot(page, "texts");
  return page;
});

testOwn("hidden texts travel in a link by what they are, not by the order in which they came", async () => {
  const n = 60, words = ["one", "two", "three", "four"];
  const notes = (order) => ({ map: map(spiral(n)), note: { kind: "text", values: Array.from({ length: n }, (_, i) => order[i % 4]) } });
  const url = async (name, order) => (await serve(table(name, notes(order)))).url;
  const page = await open({ url: await url("notes", words), hash: "#c=%3Dnote" });
  const other = await url("notes-again", [...words].reverse());
  const row = (of, name) => of.locator(".legend-row", { hasText: name }).locator(".legend-toggle");
  const hidden = (of) => of.locator(".legend-toggle[aria-pressed=false]").evaluateAll((all) => all.map((node) => node.querySelector(".name").textContent).sort());
  for (const [what, modifiers] of [["two", []], ["three", ["Alt"]]]) {
    await row(page, what).click({ modifiers });
    await settle(page, 900);
    const again = await open({ url: other, hash: new URL(page.url()).hash });
    const [here, there] = [await hidden(page), await hidden(again)];
    check(here.length > 0 && JSON.stringify(here) === JSON.stringify(there), `${here} are hidden here, ${there} there`);
    check((await counts(again)).visible === (await counts(page)).visible, "and as many points are left");
    check(again.troubles.length === 0, again.troubles.join("\n"));
    await again.context().close();
    await press(page, "d");
  }
  return page;
});

testOwn("no layout: says so, offers what helps, and the rows can be read", async () => {
  const n = 60;
  const page = await openTable("flat", { loss: { kind: "number", values: Array.from({ length: n }, (_, i) => i / n), metadata: role("loss") }, label: label(Array.from({ length: n }, (_, i) => i % 2), ["a", "b"]) });
  const box = page.locator(".trouble");
  check(await box.isVisible() && (await box.textContent()).trim().length > 20, "the message is shown");
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 500);
  check((await page.locator(".t-row").count()) > 5, "the table has rows");
  await page.getByRole("tab", { name: "Selection" }).click();
  const [csv] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV", exact: true }).click()]);
  const path = filePath("flat.csv");
  await csv.saveAs(path);
  check(readFileSync(path, "utf8").trim().split("\n").length === n + 1, "and can be taken away");
  await shot(page, "no-layout");
  return page;
});

testOwn("embeddings without a layout: the page reduces them, with progress", async () => {
  const n = 600;
  const vectors = Array.from({ length: n }, (_, i) => Array.from({ length: 8 }, (_, k) => (k === i % 8 ? 5 : 0) + Math.sin(i * 12.9898 + k * 78.233)));
  const page = await openTable("vectors", { embeddings: { kind: "vector8", values: vectors, metadata: role("nn_embedding") }, label: label(Array.from({ length: n }, (_, i) => i % 8), "abcdefgh".split("")) });
  check((await state(page)).layouts.length === 0, "there is no layout");
  await page.getByRole("combobox", { name: "Method" }).selectOption("pca");
  await page.getByRole("button", { name: "Reduce" }).click();
  await page.waitForFunction(() => window.__tlc.state().layouts.length === 1, null, { timeout: 60_000 });
  await settle(page, 900);
  check(!(await page.locator(".trouble").isVisible()), "the map is there");
  check((await counts(page)).shown === n && (await page.evaluate(() => window.__tlc.project(0))) !== null, "with all points");
  await shot(page, "reduced-here");
  return page;
});

/** Vectors around one of eight corners each. */
const corners = (n) => Array.from({ length: n }, (_, i) => Array.from({ length: 8 }, (_, k) => (k === i % 8 ? 5 : 0) + Math.sin(i * 12.9898 + k * 78.233)));

/** Makes another layout by the dialog, and waits until there are `n`. */
async function reduceAgain(page, method, parameters, n) {
  await page.getByRole("button", { name: "Make another layout" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("combobox", { name: "Method" }).selectOption(method);
  await dialog.getByText("Parameters", { exact: true }).click();
  await dialog.getByRole("textbox", { name: "Parameters" }).fill(JSON.stringify(parameters));
  await dialog.getByRole("button", { name: "Reduce" }).click();
  await page.waitForFunction((n) => window.__tlc.state().layouts.length === n, n, { timeout: 120_000 });
  await settle(page, 900);
}

testOwn("another layout of a table, with parameters of its own, stands beside the first", async () => {
  const n = 300;
  const page = await openTable("again", { embeddings: { kind: "vector8", values: corners(n), metadata: role("nn_embedding") }, label: label(Array.from({ length: n }, (_, i) => i % 8), "abcdefgh".split("")) });
  await page.getByRole("combobox", { name: "Method" }).selectOption("pca");
  await page.getByRole("button", { name: "Reduce" }).click();
  await page.waitForFunction(() => window.__tlc.state().layouts.length === 1, null, { timeout: 60_000 });
  await settle(page, 900);
  await page.getByRole("button", { name: "Make another layout" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("combobox", { name: "Method" }).selectOption("umap");
  await dialog.getByText("Parameters", { exact: true }).click();
  const args = dialog.getByRole("textbox", { name: "Parameters" });
  for (const [wrong, told] of [["n_neighbors: 5", /not a JSON object/], ["{\"n_neighbours\": 5}", /n_neighbours/]]) {
    await args.fill(wrong);
    await dialog.getByRole("button", { name: "Reduce" }).click();
    await page.waitForFunction(() => document.querySelector("dialog .bad").textContent !== "" && !document.querySelector("dialog [type=submit]").disabled);
    check(told.test(await dialog.getByRole("alert").textContent()), `${wrong} is refused with a reason: ${await dialog.getByRole("alert").textContent()}`);
  }
  await shot(page, "another-layout");
  await args.fill("{\"n_neighbors\": 5}");
  await dialog.getByRole("button", { name: "Reduce" }).click();
  await page.waitForFunction(() => window.__tlc.state().layouts.some((layout) => layout.method === "umap"), null, { timeout: 120_000 });
  await settle(page, 900);
  const { layouts, views, steps } = await state(page);
  const made = layouts.find((layout) => layout.method === "umap");
  check(made?.args.n_neighbors === 5, `the parameter is what was asked for (${JSON.stringify(made?.args)})`);
  check(layouts.length === 2 && views.length === 2 && views[0].layout !== made.id && views[1].layout === made.id, `it stands beside the first (${JSON.stringify(views)})`);
  check(steps.length === 1 && (await counts(page)).shown === n, "both are of the same samples at the same time");
  await shot(page, "another-layout-made");
  return page;
});

testOwn("a table reduced by UMAP and by PaCMAP with two parameter sets: all layouts stay, linked, also when the page is opened again", async () => {
  const n = 400;
  const url = table("compare", { embeddings: { kind: "vector8", values: corners(n), metadata: role("nn_embedding") }, label: label(Array.from({ length: n }, (_, i) => i % 8), "abcdefgh".split("")) });
  const page = await open({ url: (await serve(url)).url, width: 1500 });
  await page.getByRole("combobox", { name: "Method" }).selectOption("umap");
  await page.getByRole("button", { name: "Reduce" }).click();
  await page.waitForFunction(() => window.__tlc.state().layouts.length === 1, null, { timeout: 120_000 });
  await settle(page, 900);
  await reduceAgain(page, "pacmap", { n_neighbors: 5 }, 2);
  await reduceAgain(page, "pacmap", { n_neighbors: 40 }, 3);
  const names = async (of) => (await of.getByRole("combobox", { name: "Layout" }).first().locator("option").allTextContents());
  const listed = await names(page);
  check(JSON.stringify(listed) === JSON.stringify(["UMAP 2-D", "PaCMAP 2-D · n_neighbors 5", "PaCMAP 2-D · n_neighbors 40"]), `the list tells them apart: ${listed}`);
  // The two parameter sets side by side.
  await page.getByRole("combobox", { name: "Layout" }).first().selectOption("1");
  await settle(page, 900);
  check(JSON.stringify((await state(page)).views.map((view) => view.layout)) === "[1,2]", "both are shown");
  await lassoMiddle(page, 0.25);
  const { selected, shown } = await counts(page);
  check(selected > 0 && selected < n && shown === n, `a lasso selects samples (${selected} of ${shown})`);
  const ids = await page.evaluate(() => window.__tlc.selectedIds(0));
  const places = (view) => page.evaluate(([ids, view]) => ids.map((id) => window.__tlc.project(id, 0, view)), [ids, view]);
  const [left, right] = [await places(0), await places(1)];
  check(left.every((at) => at !== null) && right.every((at) => at !== null), "which have a place in both maps");
  const before = (await state(page)).cameras.map((camera) => camera.h);
  await page.locator(".surface").focus();
  await press(page, "+", "+");
  const after = (await state(page)).cameras.map((camera) => camera.h);
  check(after[0] < before[0] && Math.abs(after[1] / before[1] - after[0] / before[0]) < 1e-6, "the cameras are linked");
  await press(page, "f");
  await settle(page, 700);
  await shot(page, "parameter-sets");
  const again = await open({ url: (await serve(url)).url });
  check(JSON.stringify(await names(again)) === JSON.stringify(listed), `whoever opens the table later finds them: ${await names(again)}`);
  await again.getByRole("tab", { name: "Numbers" }).click();
  await again.waitForFunction(() => !/Reading/.test(document.querySelector("#panel-3").textContent));
  check(again.troubles.length === 0, again.troubles.join("\n"));
  return page;
});

testOwn("a reduction can be stopped", async () => {
  const n = 6000;
  const vectors = Array.from({ length: n }, (_, i) => Array.from({ length: 8 }, (_, k) => Math.sin(i * 12.9898 + k * 78.233)));
  const page = await openTable("slow", { embeddings: { kind: "vector8", values: vectors, metadata: role("nn_embedding") } });
  await page.getByRole("combobox", { name: "Method" }).selectOption("umap");
  await page.getByRole("button", { name: "Reduce" }).click();
  const progress = page.getByRole("group", { name: "Work of the server" });
  await progress.waitFor();
  await progress.getByRole("button", { name: "Stop" }).click();
  await page.waitForFunction(() => /Stopped/.test(document.querySelector(".trouble").textContent), null, { timeout: 10_000 });
  check(await page.getByRole("button", { name: "Reduce" }).isVisible(), "and offered again");
  return page;
});

testOwn("a CSV file with x and y is shown as it is", async () => {
  const rows = spiral(120).map(([x, y], i) => `${x},${y},${i % 3 === 0 ? "red" : "blue"},${i / 120}`);
  const server = await serve(file("points.csv", ["x,y,colour,weight", ...rows].join("\n")));
  const page = await open({ url: server.url });
  await page.waitForFunction(() => window.__tlc.state().layouts.length === 1, null, { timeout: 60_000 });
  await settle(page, 600);
  check((await counts(page)).shown === 120, "all rows are points");
  check((await page.locator(".legend-row").count()) === 2, "and coloured by what tells them apart");
  await shot(page, "csv");
  return page;
});

testOwn("a CSV file with vectors is reduced while the page tells how far it is", async () => {
  const rows = Array.from({ length: 400 }, (_, i) => [...Array.from({ length: 6 }, (_, k) => (k === i % 4 ? 4 : 0) + Math.sin(i * 12.9898 + k * 78.233)), "abcd"[i % 4]].join());
  const server = await serve(file("vectors.csv", ["e0,e1,e2,e3,e4,e5,label", ...rows].join("\n")));
  const page = await open({ url: server.url });
  await page.waitForFunction(() => window.__tlc.state().layouts.length === 1, null, { timeout: 120_000 });
  await settle(page, 900);
  const now = await state(page);
  check((await counts(page)).shown === 400 && now.trouble === null, "the map comes by itself");
  check(now.colour === "=label", "and gets the colours of the labels, which were not there when the page was opened");
  return page;
});
