// Tests of the page against any served run: TLC_VIEW_URL=http://127.0.0.1:PORT/ node tests/all.mjs [part of a name]
// Numbers of the data are never assumed; what is there is read from window.__tlc.
import { base, check, close, counts, ellipse, middle, open, positions, settle, shot, state } from "./lib.mjs";

const tests = [];
const test = (name, run) => tests.push({ name, run });
const press = async (page, ...keys) => { for (const key of keys) { await page.keyboard.press(key); await settle(page, 80); } };

async function lassoMiddle(page, share = 0.3, hold) {
  const at = await middle(page);
  const [x, y, w, h] = at;
  await press(page, "e");
  await ellipse(page, x, y, w * share, h * share, hold);
  return at;
}

test("loads, colours, and shows points where they should be", async () => {
  const page = await open();
  const { shown, visible } = await counts(page);
  check(shown > 0 && visible === shown, "all points are visible at first");
  const free = await positions(page, 400);
  check(free.length > 0, "points lie on the map");
  const seen = await page.evaluate((free) => {
    const corner = window.__tlc.pixel(document.querySelector(".surface").getBoundingClientRect().left + 1, document.querySelector(".surface").getBoundingClientRect().top + 1);
    return free.slice(0, 40).filter(({ x, y }) => { const p = window.__tlc.pixel(x, y); return Math.abs(p[0] - corner[0]) + Math.abs(p[1] - corner[1]) + Math.abs(p[2] - corner[2]) > 24; }).length;
  }, free);
  check(seen >= Math.min(40, free.length) * 0.9, `pixels at projected points are not background (${seen})`);
  await shot(page, "light");
  const colour = (await state(page)).colour;
  await press(page, "c");
  check((await state(page)).columns.length < 2 || (await state(page)).colour !== colour, "C changes the colour");
  await shot(page, "colour-next");
  return page;
});

test("draws on demand only", async () => {
  const page = await open();
  await settle(page, 1200);
  const before = await page.evaluate(() => window.__tlc.frame);
  await page.waitForTimeout(700);
  check((await page.evaluate(() => window.__tlc.frame)) === before, "no frame is drawn while nothing changes");
  return page;
});

test("plays, pauses, steps", async () => {
  const page = await open({ reducedMotion: "no-preference" });
  const { steps } = await state(page);
  if (steps.length < 2) return page;
  await page.locator(".surface").focus();
  await press(page, " ");
  check((await state(page)).playing, "Space plays");
  await page.waitForTimeout(1500);
  await press(page, " ");
  check(!(await state(page)).playing, "Space pauses");
  await page.evaluate(() => window.__tlc.setTime(0));
  await press(page, "f");
  await settle(page, 600);
  await shot(page, "epoch-first");
  await press(page, ".");
  await settle(page, 500);
  check((await state(page)).step === 1, "the full stop goes to the next epoch");
  await page.getByRole("slider", { name: "Epoch" }).focus();
  await press(page, "End");
  check((await state(page)).step === steps.length - 1, "End on the slider goes to the last epoch");
  return page;
});

test("lasso in 2-D adds, subtracts, inverts, clears, undoes", async () => {
  const page = await open();
  const [x, y, w, h] = await lassoMiddle(page, 0.3, () => shot(page, "lasso-drawing"));
  const all = await counts(page);
  check(all.selected > 0 && (all.selected < all.shown || all.shown < 10), `the lasso selects some (${all.selected})`);
  await shot(page, "lasso-2d");
  await page.keyboard.down("Alt");
  await ellipse(page, x, y, w * 0.12, h * 0.12);
  await page.keyboard.up("Alt");
  const less = (await counts(page)).selected;
  check(less <= all.selected, "Alt subtracts");
  await page.keyboard.down("Shift");
  await ellipse(page, x, y, w * 0.3, h * 0.3);
  await page.keyboard.up("Shift");
  check((await counts(page)).selected === all.selected, "Shift adds");
  await press(page, "i");
  check((await counts(page)).selected === all.visible - all.selected, "I inverts");
  await press(page, "Control+z");
  check((await counts(page)).selected === all.selected, "Ctrl Z takes the inversion back");
  check((await page.locator(".status-line .selected").textContent()).startsWith(all.selected.toLocaleString("en")), "the count is told");
  await press(page, "Escape");
  check((await counts(page)).selected === 0, "Esc clears");
  await press(page, "b");
  await page.mouse.move(x - 80, y - 80);
  await page.mouse.down();
  await page.mouse.move(x + 80, y + 80, { steps: 4 });
  await page.mouse.up();
  await settle(page);
  const inBox = (await positions(page, 1e5)).filter((p) => Math.abs(p.x - x) < 79 && Math.abs(p.y - y) < 79);
  const selected = new Set(await page.evaluate(() => window.__tlc.selected(window.__tlc.state().datasets[0].id)));
  check(inBox.every((p) => selected.has(p.slot)), "all points in the box are selected");
  return page;
});

test("lasso in 3-D agrees with the projection", async () => {
  const page = await open();
  if (!(await state(page)).layouts.some((l) => l.dims === 3)) return page;
  await press(page, "3");
  await settle(page, 600);
  check((await state(page)).dims[0] === 3, "3 shows the 3-D layout");
  const [fromX, fromY] = await middle(page);
  await page.mouse.move(fromX, fromY);
  await page.mouse.down();
  await page.mouse.move(fromX + 60, fromY + 25, { steps: 5 });
  await page.mouse.up();
  await settle(page);
  const [x, y, w, h] = await lassoMiddle(page, 0.25);
  const selected = new Set(await page.evaluate(() => window.__tlc.selected(window.__tlc.state().datasets[0].id)));
  const points = await positions(page, 1e5);
  const inside = (p, k) => ((p.x - x) / (w * 0.25)) ** 2 + ((p.y - y) / (h * 0.25)) ** 2 < k;
  check(points.filter((p) => inside(p, 0.9)).every((p) => selected.has(p.slot)), "all points well inside are selected");
  check(points.filter((p) => !inside(p, 1.1)).every((p) => !selected.has(p.slot)), "no point outside is selected");
  await shot(page, "lasso-3d");
  return page;
});

test("selection is the same in two maps, cameras linked", async () => {
  const page = await open({ width: 1500 });
  await press(page, "s");
  await settle(page, 700);
  check((await state(page)).views.length === 2, "S shows two maps");
  await lassoMiddle(page, 0.3);
  const n = (await counts(page)).selected;
  check(n > 0, "the lasso works in the left map");
  const before = (await state(page)).cameras.map((c) => c.h);
  await page.locator(".surface").focus();
  await press(page, "+", "+");
  const after = await state(page);
  check(after.cameras[0].h < before[0], "plus zooms");
  if (after.dims[0] === after.dims[1]) check(Math.abs(after.cameras[1].h / before[1] - after.cameras[0].h / before[0]) < 1e-6, "the linked camera follows");
  await shot(page, "side-by-side");
  return page;
});

test("trails and ghost", async () => {
  const page = await open();
  if ((await state(page)).steps.length < 2) return page;
  const [first] = await positions(page, 500);
  await page.mouse.click(first.x, first.y);
  await press(page, "t", "g");
  await settle(page, 700);
  const now = await state(page);
  check(now.trails && now.ghost === "first" && now.trailSegments[0] > 0, "the selected point has a trail");
  await shot(page, "trails");
  return page;
});

test("legend hides and isolates, filters limit the lasso", async () => {
  const page = await open();
  const rows = page.locator(".legend-row");
  const amounts = await rows.locator(".amount").evaluateAll((nodes) => nodes.map((node) => Number(node.textContent.replaceAll(",", ""))));
  if (amounts.filter((n) => n > 0).length < 2) return page;
  const most = amounts.indexOf(Math.max(...amounts));
  const all = await counts(page);
  await rows.nth(most).locator(".legend-toggle").click();
  await settle(page);
  const less = await counts(page);
  check(less.visible < all.visible, "a click hides the class");
  await press(page, "Control+a");
  check((await counts(page)).selected === less.visible, "a selection respects hidden classes");
  await press(page, "Escape", "d");
  check((await counts(page)).visible === all.visible, "D shows all again");
  await rows.nth(most).locator(".legend-toggle").click({ modifiers: ["Alt"] });
  await settle(page);
  check((await counts(page)).visible === all.visible - less.visible, "Alt-click isolates");
  await shot(page, "isolated");
  return page;
});

test("range filter by keyboard", async () => {
  const page = await open();
  const slider = page.locator(".range input").first();
  if ((await slider.count()) === 0) return page;
  const all = await counts(page);
  await slider.focus();
  for (let i = 0; i < 20; i++) await page.keyboard.press("ArrowRight");
  await settle(page);
  const now = await state(page);
  check(Object.keys(now.filters).length === 1, "the filter is in force");
  check((await counts(page)).visible <= all.visible, "it hides points");
  check((await page.locator(".chip").count()) >= 1, "and is shown above the map");
  return page;
});

test("table: rows, sorting, keyboard, sample card", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 500);
  const rows = page.locator(".t-row");
  check((await rows.count()) > 0 && (await rows.count()) < 120, "only rows in sight exist");
  const heads = page.locator(".t-sort");
  const numeric = (await state(page)).columns.findIndex((c) => c.kind === "number");
  if (numeric >= 0) {
    const head = heads.nth((await heads.count()) - (await state(page)).columns.length + numeric);
    await head.click();
    await settle(page, 400);
    const column = numeric - (await state(page)).columns.length;
    const values = await rows.evaluateAll((all, column) => all.map((row) => { const cells = [...row.children]; return Number(cells[cells.length + column].textContent.replaceAll(",", "")); }), column);
    const finite = values.filter(Number.isFinite);
    check(finite.every((v, i) => i === 0 || v >= finite[i - 1] - 1e-3), "a click on the head sorts");
  }
  await page.getByRole("grid").focus();
  await press(page, "ArrowDown", "Enter");
  await settle(page, 500);
  check((await state(page)).sample !== null, "Enter opens the sample");
  check(await page.locator(".sample-card").isVisible(), "its card is shown");
  await shot(page, "table-sample");
  return page;
});

test("hover shows a card, click selects", async () => {
  const page = await open();
  const [first] = await positions(page, 500);
  await page.mouse.move(first.x, first.y);
  await settle(page, 400);
  check(await page.locator(".hover-card").isVisible(), "the card is shown");
  await shot(page, "hover");
  await page.mouse.click(first.x, first.y);
  await settle(page, 400);
  check((await counts(page)).selected === 1, "the click selects one point");
  return page;
});

test("finders lead to points", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Find" }).click();
  const buttons = page.locator(".finder:not([disabled])");
  if ((await buttons.count()) === 0) return page;
  for (let i = 0; i < (await buttons.count()); i++) {
    await buttons.nth(i).click();
    await page.waitForFunction(() => document.querySelector(".found, .panel .bad") !== null && !/Looking/.test(document.querySelector("#panel-2").textContent), null, { timeout: 30_000 });
    check((await page.locator("#panel-2 .bad").count()) === 0, `finder ${i} answers`);
  }
  await buttons.nth(0).click();
  await settle(page, 900);
  if ((await page.locator(".found-row").count()) > 0) {
    await page.locator(".found-row").first().click();
    await settle(page, 800);
    check((await counts(page)).selected === 1, "a row selects its point");
    await shot(page, "finder");
    await page.getByRole("button", { name: "Select all" }).click();
    await settle(page);
    check((await counts(page)).selected >= 1, "select all selects");
  }
  return page;
});

test("numbers", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Numbers" }).click();
  await page.waitForFunction(() => !/Reading/.test(document.querySelector("#panel-3").textContent));
  check(/Quality/.test(await page.locator("#panel-3").textContent()), "the panel is filled");
  await shot(page, "numbers");
  return page;
});

test("export of a selection", async () => {
  const page = await open();
  await lassoMiddle(page, 0.2);
  if ((await counts(page)).selected === 0) return page;
  for (const format of ["CSV", "JSON", "Parquet"]) {
    const [file] = await Promise.all([page.waitForEvent("download", { predicate: (file) => file.suggestedFilename().endsWith(`.${format.toLowerCase()}`) }), page.getByRole("button", { name: format, exact: true }).click()]);
    check(file.suggestedFilename().endsWith(format.toLowerCase()), `${format} is downloaded`);
  }
  return page;
});

test("a link brings the state back", async () => {
  const page = await open();
  await lassoMiddle(page, 0.25);
  const n = (await counts(page)).selected;
  await press(page, "c", "+");
  await settle(page, 1200);
  const was = await state(page);
  const hash = await page.evaluate(() => location.hash);
  const other = await open({ hash });
  const now = await state(other);
  check((await counts(other)).selected === n, "the selection is back");
  check(now.colour === was.colour, "the colour is back");
  check(Math.abs(now.cameras[0].h / was.cameras[0].h - 1) < 1e-4, "the camera is back");
  check(other.troubles.length === 0, other.troubles.join("\n"));
  await other.context().close();
  return page;
});

test("dark mode and contrast", async () => {
  for (const colorScheme of ["dark", "light"]) {
    const page = await open({ colorScheme });
    check((await state(page)).dark === (colorScheme === "dark"), "the page follows the system");
    const bad = await page.evaluate(() => {
      const parse = (text) => { const m = text.match(/rgba?\(([^)]+)\)/); if (!m) return null; const [r, g, b, a = 1] = m[1].split(/[,/ ]+/).map(Number); return { c: [r, g, b], a }; };
      const light = (c) => { const f = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
      const out = [];
      for (const node of document.querySelectorAll("button, p, span, h1, h2, h3, summary, label, output, option, dt, dd")) {
        if (node.children.length > 0 || node.textContent.trim() === "" || !node.checkVisibility({ opacityProperty: true }) || node.matches(":disabled, .only, kbd")) continue;
        let at = node, back = null;
        while (at && !back) { const b = parse(getComputedStyle(at).backgroundColor); if (b && b.a > 0.9) back = b.c; at = at.parentElement; }
        const ink = parse(getComputedStyle(node).color)?.c;
        if (!back || !ink) continue;
        const [a, b] = [light(ink), light(back)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) out.push(`${node.className || node.tagName} "${node.textContent.slice(0, 20)}" ${ratio.toFixed(2)}`);
      }
      return out;
    });
    check(bad.length === 0, `contrast below 4.5: ${[...new Set(bad)].slice(0, 5).join("; ")}`);
    await shot(page, colorScheme === "dark" ? "dark" : "light-again");
    check(page.troubles.length === 0, page.troubles.join("\n"));
    await page.context().close();
  }
});

test("dark 3-D with a lasso", async () => {
  const page = await open({ colorScheme: "dark", width: 1500, height: 900 });
  await press(page, "3");
  await settle(page, 700);
  await lassoMiddle(page, 0.24);
  await shot(page, "dark-3d-lasso");
  return page;
});

test("every control has a name", async () => {
  const page = await open();
  for (const tab of ["Selection", "Table", "Find", "Numbers"]) {
    await page.getByRole("tab", { name: tab }).click();
    await settle(page, 400);
    const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, [tabindex], [role=slider]")].filter((node) => {
      if (!node.checkVisibility()) return false;
      const label = node.getAttribute("aria-label") ?? (node.getAttribute("aria-labelledby") ? "x" : "") ;
      return (label || node.textContent.trim() || node.labels?.[0]?.textContent.trim() || node.title || "") === "";
    }).map((node) => node.outerHTML.slice(0, 120)));
    check(nameless.length === 0, `without a name: ${nameless.join(" | ")}`);
  }
  return page;
});

test("keyboard only: everything can be reached and used", async () => {
  const page = await open();
  const reached = new Set();
  for (let i = 0; i < 90; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => { const a = document.activeElement; return a.getAttribute("aria-label") ?? a.textContent.slice(0, 20); }));
  }
  for (const name of ["Layout", "Lasso", "Colour by", "Epoch", "Play"]) if (!(name === "Play" || name === "Epoch") || (await state(page)).steps.length > 1) check([...reached].some((label) => label.startsWith(name)), `Tab reaches ${name}`);
  await page.locator(".surface").focus();
  const x = (await state(page)).cameras[0].x;
  await press(page, "ArrowRight");
  check((await state(page)).cameras[0].x !== x, "arrows move the map");
  await press(page, "?");
  check(await page.getByRole("dialog").isVisible(), "the help opens");
  await shot(page, "help");
  await press(page, "Escape");
  check((await page.getByRole("dialog").count()) === 0, "Esc closes it");
  return page;
});

test("400 px wide", async () => {
  const page = await open({ width: 400, height: 800, hasTouch: true });
  check(await page.evaluate(() => document.documentElement.scrollWidth <= 400), "nothing sticks out");
  await shot(page, "narrow");
  await page.getByRole("button", { name: "Show or hide the panel" }).click();
  await settle(page, 400);
  check(await page.locator(".sidebar").isVisible(), "the drawer opens");
  await shot(page, "narrow-drawer");
  return page;
});

test("server gone: says so and what to do", async () => {
  const page = await open();
  await page.route("**/api/**", (route) => route.abort());
  await page.getByRole("tab", { name: "Numbers" }).click();
  await settle(page, 600);
  check(/server is gone/i.test(await page.locator("#panel-3").textContent()), "the panel says it");
  await shot(page, "server-gone");
  return page;
});

test("server gone at the start: not a blank page", async () => {
  const page = await open({ before: (page) => page.route("**/api/manifest*", (route) => route.abort()) });
  check(/server is gone/i.test(await page.locator(".trouble").textContent()), "a message is shown");
  return page;
});

test("table deleted meanwhile: explains and offers to read again", async () => {
  const page = await open();
  await page.route("**/api/coords*", (route) => route.fulfill({ status: 404, contentType: "application/json", body: JSON.stringify({ error: "The table is gone.", advice: "Read the list again." }) }));
  const layouts = (await state(page)).layouts;
  if (layouts.length < 2) return page;
  await page.locator(".view-bar select").first().selectOption(String(layouts[layouts.length - 1].id));
  await settle(page, 500);
  const box = page.locator(".trouble");
  check(await box.isVisible() && /The table is gone/.test(await box.textContent()), "the message of the server is shown");
  await shot(page, "table-gone");
  await page.unroute("**/api/coords*");
  await box.getByRole("button").click();
  await settle(page, 700);
  check(!(await box.isVisible()), "after reading again the map is back");
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

test("text of the data stays text", async () => {
  // The manifest is made hostile on its way; the rest comes from the server as it is.
  const evil = `"><img src=x onerror="window.__evil=1"> שלום`;
  const page = await open({ before: (page) => page.route("**/api/manifest*", async (route) => {
    const response = await route.fetch();
    const manifest = await response.json();
    manifest.title = evil;
    manifest.runs = [];
    for (const column of manifest.columns) if (column.classes) column.classes = column.classes.map((name) => evil + name);
    await route.fulfill({ response, json: manifest });
  }) });
  check((await page.evaluate(() => window.__evil)) === undefined, "nothing ran");
  check((await page.locator("header h1").textContent()) === evil, "the title is shown as text");
  await shot(page, "hostile");
  return page;
});

const wanted = process.argv[2] ?? "";
let failed = 0;
for (const { name, run } of tests.filter((t) => t.name.includes(wanted))) {
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
await close();
console.log(failed === 0 ? `all passed against ${base}` : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
