// What stands beside the map: legend, filters, table, finders, numbers, files.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { check, counts, lassoMiddle, need, open, positions, press, settle, shot, state, test, testOwn } from "./lib.mjs";
import { copyOfProject, filePath, project, rowsOf, serve } from "./serve.mjs";

test("legend hides and isolates, filters limit the lasso", async () => {
  const page = await open();
  const rows = page.locator(".legend-row");
  const amounts = await rows.locator(".amount").evaluateAll((nodes) => nodes.map((node) => Number(node.textContent.replaceAll(",", ""))));
  need(amounts.filter((n) => n > 0).length > 1, "two classes");
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
  need((await slider.count()) > 0, "a column of numbers");
  const all = await counts(page);
  await slider.focus();
  for (let i = 0; i < 20; i++) await page.keyboard.press("ArrowRight");
  await settle(page);
  const now = await state(page);
  const [[name, { lo, hi }], ...others] = Object.entries(now.filters);
  check(others.length === 0 && Number.isFinite(lo) && hi === Infinity, "the filter is in force");
  const { visible } = await counts(page);
  const kept = await page.evaluate(({ name, lo }) => window.__tlc.state().datasets.reduce((sum, { id }) => sum + window.__tlc.values(name, id).filter((v) => v >= lo).length, 0), { name, lo });
  check(visible === kept && visible < all.visible, `it hides the points below (${visible} of ${all.visible}, ${kept} are above)`);
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
  need(numeric >= 0, "a column of numbers");
  {
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

test("finders lead to points", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Find" }).click();
  const buttons = page.locator(".finder:not([disabled])");
  need((await buttons.count()) > 0, "a finder");
  const answered = async (what) => {
    await page.waitForFunction(() => document.querySelector(".found, .panel .bad") !== null && !/Looking/.test(document.querySelector("#panel-2").textContent), null, { timeout: 30_000 });
    check((await page.locator("#panel-2 .bad").count()) === 0, `${what} answers`);
    check((await page.locator(".found-head p").textContent()).length > 20, `${what} explains its rule`);
  };
  await buttons.first().click();
  await answered("the first finder");
  const picker = page.getByRole("combobox", { name: "What to find" });
  for (const id of await picker.locator("option").evaluateAll((all) => all.map((option) => option.value))) {
    await picker.selectOption(id);
    await answered(id);
  }
  await page.getByRole("button", { name: "Back to all lists" }).click();
  await buttons.first().click();
  await answered("the first finder");
  await settle(page, 400);
  check((await page.locator("#panel-2 [role=status]").textContent()) === (await page.locator(".found-head h3").textContent()), "how many there are is said aloud");
  check((await page.locator("#panel-2 [aria-live]").count()) === 0 && (await page.locator("[role=status] .found").count()) === 0, "and the list is not");
  const found = await page.locator(".found-row").count();
  need(found > 1, "suspects to find");
  await page.locator(".found-row").first().click();
  await settle(page, 800);
  check((await counts(page)).selected === 1, "a row selects its point");
  await shot(page, "finder");
  await page.getByRole("button", { name: "Select all" }).click();
  await settle(page);
  check((await counts(page)).selected === found, `select all selects all (${(await counts(page)).selected} of ${found})`);
  return page;
});

test("the quality of the layout is measured on a click", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Numbers" }).click();
  await page.getByRole("button", { name: "Measure" }).click();
  const report = page.getByRole("region", { name: "Quality of the layout shown" });
  await report.waitFor({ timeout: 60_000 });
  const rows = await report.locator("tbody tr").evaluateAll((all) => all.map((row) => [row.querySelector("th").textContent, Number.parseFloat(row.querySelector("td").textContent), row.title]));
  check((await report.locator("table").count()) === (await state(page)).datasets.length, "one report for each dataset");
  check(rows.length > 1 && rows.every(([name, value, of]) => name !== "" && Number.isFinite(value) && of.length > 3), `lines with a value, and of what: ${JSON.stringify(rows)}`);
  check(rows.filter(([name]) => /trustworthiness/i.test(name)).every(([, value]) => value > 0.3 && value <= 1), "trustworthiness is a share");
  await page.evaluate(() => window.__tlc.setTime(0));
  await settle(page);
  check((await report.count()) === 0 && await page.getByRole("button", { name: "Measure" }).isVisible(), "another epoch has to be measured again");
  return page;
});

testOwn("two viewers of one project, each with a page of its own", async () => {
  const [a, b] = [await serve("--project", project), await serve("--project", project)];
  const pages = [await open({ url: a.url }), await open({ url: a.url }), await open({ url: b.url })];
  await lassoMiddle(pages[0], 0.2);
  await lassoMiddle(pages[2], 0.3);
  const chosen = [];
  for (const page of pages) chosen.push((await counts(page)).selected);
  check(chosen[0] > 0 && chosen[1] === 0 && chosen[2] > chosen[0], `each page has its own selection (${chosen})`);
  await a.stop();
  await pages[2].getByRole("tab", { name: "Numbers" }).click();
  await pages[2].waitForFunction(() => /Lineage/.test(document.querySelector("#panel-3").textContent));
  check(pages[2].troubles.length === 0, "and the end of one server is nothing to the other");
  return pages[0];
});

test("the table goes to an id", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Table" }).click();
  await settle(page, 500);
  const box = page.getByRole("searchbox", { name: "Go to example id" });
  const go = async (text) => { await box.fill(text); await box.press("Enter"); await settle(page, 500); };
  await go("17");
  const { sample, datasets } = await state(page);
  check((await counts(page)).selected === 1 && sample?.dataset === datasets[0].id, "it is selected and open");
  check(JSON.stringify(await page.evaluate((id) => window.__tlc.selectedIds(id), datasets[0].id)) === "[17]", "and has that id");
  check(/^Sample 17/.test(await page.locator(".sample-card h2").textContent()), "as its card says");
  for (const [text, told] of [["987654321", /no example 987654321/], ["seven", /is a number/]]) {
    await go(text);
    check(told.test((await state(page)).notice?.text ?? ""), `${text}: ${(await state(page)).notice?.text}`);
    check((await counts(page)).selected === 1, "and nothing changes");
  }
  return page;
});

test("a suspect that filters hide: says so, and offers to drop them", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Find" }).click();
  need((await page.locator(".finder:not([disabled])").count()) > 0, "a finder");
  await page.locator(".finder:not([disabled])").first().click();
  await page.waitForFunction(() => document.querySelector(".found") !== null, null, { timeout: 30_000 });
  need((await page.locator(".found-row").count()) > 0, "suspects to find");
  await page.getByRole("button", { name: "hide all" }).click();
  await settle(page);
  const before = (await state(page)).cameras[0];
  await page.locator(".found-row").first().click();
  await settle(page, 800);
  check(/hidden by filters/.test((await state(page)).notice?.text ?? ""), "it says why nothing is to be seen");
  check(JSON.stringify((await state(page)).cameras[0]) === JSON.stringify(before), "and the map stays where it is");
  await page.getByRole("button", { name: "Drop all filters" }).click();
  await settle(page, 800);
  check((await counts(page)).selected === 1 && (await state(page)).cameras[0].h < before.h, "without filters it is there, in focus");
  return page;
});

test("numbers", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Numbers" }).click();
  await page.waitForFunction(() => !/Reading/.test(document.querySelector("#panel-3").textContent));
  check(/Quality/.test(await page.locator("#panel-3").textContent()), "the panel is filled");
  const { steps } = await state(page);
  const epochs = (await page.locator("#panel-3 svg .axis").allTextContents()).filter((text) => text.startsWith("epoch")).map((text) => `Epoch ${text.slice(6)}`);
  check(epochs.length > 0 && epochs.every((epoch) => steps.includes(epoch)), `the charts run over the run's epochs (${[...new Set(epochs)]})`);
  await shot(page, "numbers");
  // What the charts say of the epoch shown must be what its rows say.
  const { columns, datasets, step } = await state(page);
  const plain = (text) => Number(text.replace("−", "-").replaceAll(",", ""));
  const told = async (title, dataset) => plain((await page.getByRole("img", { name: new RegExp(`^${title}\\.`) }).getAttribute("aria-label")).match(new RegExp(`${dataset}: .*?e${steps[step].slice(1)} ([^,]*?)(,|\\. |$)`))[1]);
  const loss = columns.find((c) => c.role === "loss")?.name, label = columns.find((c) => c.role === "label")?.name, prediction = columns.find((c) => c.role === "prediction")?.name;
  need(loss !== undefined && label !== undefined && prediction !== undefined, "losses, labels and predictions");
  for (const { id, name } of datasets) {
    const rows = await page.evaluate(async ({ id, names }) => { await window.__tlc.load(names, id); return names.map((name) => window.__tlc.values(name, id)); }, { id, names: [loss, label, prediction] });
    const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const is = { [`mean ${loss}`]: mean(rows[0]), accuracy: mean(rows[1].map((v, i) => Number(v === rows[2][i]))) };
    for (const [title, value] of Object.entries(is)) {
      const says = await told(title, name);
      check(Math.abs(says - value) < 0.006 * Math.abs(value), `${title} of ${name}: the chart says ${says}, the rows ${value}`);
    }
  }
  // Where the tables come from.
  const lineages = await page.locator("#panel-3 .lineage").allTextContents();
  check(lineages.length > 0 && lineages.every((text) => /\bby\b/.test(text) && /\nfrom .* \(\d+ rows\)/.test(text)), `every table says from what and by whom it was made: ${lineages[0]}`);
  // Drift is a share of the map, and the page says so.
  check(/share of the map.s diagonal/.test(await page.locator("#panel-3").textContent()), "what drift is, is said");
  const drifts = (await page.getByRole("img", { name: /-D.*epoch .* %/ }).evaluateAll((all) => all.map((node) => node.getAttribute("aria-label")))).flatMap((text) => [...text.matchAll(/epoch \d+ ([\d.]+) %/g)].map((found) => Number(found[1])));
  check(drifts.length > 0 && drifts.every((share) => share > 0 && share < 100), `drift is between nothing and all of the map: ${drifts}`);
  return page;
});

testOwn("export of a selection: the files hold its rows", async () => {
  const page = await open();
  const { datasets } = await state(page);
  await page.getByRole("combobox", { name: "Dataset" }).first().selectOption(String(datasets.at(-1).id));
  await lassoMiddle(page, 0.2);
  const ids = (await page.evaluate((dataset) => window.__tlc.selectedIds(dataset), datasets.at(-1).id)).sort((a, b) => a - b);
  check(ids.length > 1 && ids.length < datasets.at(-1).rows, `some are selected (${ids.length})`);
  // An imported file gets ids of its own; those that it holds are called `own_example_id` then.
  const csvIds = (text) => { const [head, ...rows] = text.trim().split(/\r?\n/); const names = head.split(","); const at = Math.max(names.indexOf("own_example_id"), names.indexOf("example_id")); check(at >= 0, `the ids are there: ${head}`); return rows.map((row) => Number(row.split(",")[at])); };
  const read = {
    csv: (path) => csvIds(readFileSync(path, "utf8")),
    json: (path) => JSON.parse(readFileSync(path, "utf8")).map((row) => row.example_id),
    parquet: (path) => csvIds(rowsOf(path)),
  };
  for (const format of ["CSV", "JSON", "Parquet"]) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: format, exact: true }).click()]);
    const name = file.suggestedFilename();
    check(name.endsWith(`.${format.toLowerCase()}`), `${format} is downloaded (${name})`);
    const path = filePath(name);
    await file.saveAs(path);
    const rows = read[format.toLowerCase()](path).sort((a, b) => a - b);
    check(JSON.stringify(rows) === JSON.stringify(ids), `${format} holds the rows selected (${rows.length}, ${ids.length}; ${rows.slice(0, 5)} and ${ids.slice(0, 5)})`);
  }
  return page;
});

testOwn("the filters as a command for the terminal, which chooses the same rows", async () => {
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  const { columns } = await state(page);
  const number = columns.find((c) => c.kind === "number");
  need(number !== undefined && (await page.locator(".legend-row").count()) > 1, "a column of numbers, and two classes");
  const name = await page.locator(".legend-row .name").first().textContent();
  await page.locator(".legend-toggle").first().click();
  await page.getByRole("slider", { name: `${number.name} at least` }).press("ArrowRight");
  await settle(page);
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await settle(page);
  const command = await page.evaluate(() => navigator.clipboard.readText());
  check(command.startsWith("tlc select --table 'file:") && command.includes(`NOT IN ('\\''${name.replaceAll("'", "''")}'\\'')`) && command.includes(`${number.name} >= `), `it holds both conditions: ${command}`);
  const rows = (text) => execFileSync("sh", ["-c", text.replaceAll(/^tlc /gm, `"$TLC_BIN" `)], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").length;
  const chosen = command.split("\n").reduce((sum, line) => sum + rows(line) - 1, 0);
  check(chosen === (await counts(page)).visible, `the command chooses as many rows as the page shows (${chosen}, ${(await counts(page)).visible})`);
  await page.locator(".surface").focus();
  await press(page, "d");
  await lassoMiddle(page, 0.15);
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await settle(page);
  const ids = await page.evaluate(() => navigator.clipboard.readText());
  const listed = execFileSync(process.env.TLC_BIN, ["select", "--ids", "-"], { input: ids, encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").length - 1;
  check(listed === (await counts(page)).selected, `and the ids of a lasso are those rows (${listed}, ${(await counts(page)).selected})`);
  return page;
});

test("a sample shows its values and its neighbours", async () => {
  const page = await open();
  const [first] = await positions(page, 500);
  await page.mouse.click(first.x, first.y);
  await page.waitForFunction(() => document.querySelectorAll(".sample-card .neighbours").length === 2 && !/Searching/.test(document.querySelector(".sample-card").textContent));
  await settle(page, 500);
  const card = page.locator(".sample-card");
  check((await card.locator("dd").count()) >= 1, "values are shown");
  const rows = (await counts(page)).shown;
  const [embedding, map] = await card.locator(".neighbours").evaluateAll((all) => all.map((box) => box.querySelectorAll("button.cell, button.chip-cell").length));
  check(map === Math.min(10, rows - 1), `neighbours on the map (${map})`);
  check(embedding === map, `and as many in embedding space (${embedding})`);
  await card.getByRole("button", { name: "select these" }).last().click();
  await settle(page);
  check((await counts(page)).selected === map + 1, "they can be selected with the sample");
  return page;
});

test("neighbours are asked for where the epochs come to rest, and nobody waits for those left behind", async () => {
  const page = await open({ before: (page) => page.addInitScript(() => {
    const real = window.fetch;
    window.asked = [];
    window.fetch = (url, options) => {
      if (String(url).includes("/api/knn")) window.asked.push({ ...JSON.parse(options.body), signal: options.signal });
      return real(url, options);
    };
  }) });
  need((await state(page)).steps.length > 1, "several epochs");
  const [first] = await positions(page, 500);
  const asked = () => page.evaluate(() => window.asked.map(({ table, example_id, signal }) => ({ table, example_id, aborted: signal.aborted })));
  const answered = () => page.waitForFunction(() => document.querySelectorAll(".sample-card .neighbours button").length > 0 && !/Searching/.test(document.querySelector(".sample-card").textContent));
  await page.mouse.click(first.x, first.y);
  await answered();
  check((await asked()).length === 1, `one request for one sample (${(await asked()).length})`);
  // Two frames for each of ten epochs, the last of them the run's first.
  await page.evaluate(async () => {
    const { steps, step } = window.__tlc.state();
    for (let i = 0; i < 10; i++) {
      window.__tlc.setTime(i === 9 ? 0 : (step + 1 + i) % steps.length);
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    }
  });
  await settle(page, 500);
  await answered();
  const all = await asked();
  const last = all.pop();
  check(all.length < 7, `the epochs on the way are not asked for (${all.length} requests for 10 epochs)`);
  check(last.table !== all[0].table && last.example_id === all[0].example_id && !last.aborted, "but the one at which they rest");
  check(all.every(({ aborted }) => aborted), "what was asked for before is given up");
  return page;
});

testOwn("a selection becomes a revision of the table", async () => {
  const project = copyOfProject();
  const server = await serve("--project", project);
  const page = await open({ url: server.url });
  await page.getByRole("combobox", { name: "Dataset" }).first().selectOption({ index: 1 });
  await lassoMiddle(page, 0.2);
  const { selected } = await counts(page);
  await page.getByRole("button", { name: "Revision…" }).click();
  const dialog = page.getByRole("dialog");
  check((await dialog.textContent()).includes(`${selected.toLocaleString("en")} row`), "the dialog says how many rows it will have");
  await dialog.getByRole("textbox", { name: "Name" }).fill("suspects");
  await dialog.getByRole("textbox", { name: "Description" }).fill("chosen on the map");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.locator("code").waitFor();
  const url = await dialog.locator("code").textContent();
  check(existsSync(fileURLToPath(url)), `the table is there: ${url}`);
  const made = execFileSync(process.env.TLC_BIN, ["show", url], { encoding: "utf8" });
  const { datasets, views } = await state(page);
  check(made.includes(`(${selected} rows)`) && made.split("\n").slice(1).some((line) => line.includes(datasets.find(({ id }) => id === views[0].dataset).name)), `its lineage says how many rows it has, and from what: ${made}`);
  check(made.includes("chosen on the map"), `and why: ${made}`);
  await shot(page, "revision");
  return page;
});
