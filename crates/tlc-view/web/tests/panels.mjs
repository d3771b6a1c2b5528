// What stands beside the map: legend, filters, table, finders, numbers, files.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { check, counts, lassoMiddle, open, positions, press, settle, shot, state, test, testOwn } from "./lib.mjs";
import { copyOfProject, serve } from "./serve.mjs";

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

test("finders lead to points", async () => {
  const page = await open();
  await page.getByRole("tab", { name: "Find" }).click();
  const buttons = page.locator(".finder:not([disabled])");
  if ((await buttons.count()) === 0) return page;
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
  const { steps } = await state(page);
  const epochs = (await page.locator("#panel-3 svg .axis").allTextContents()).filter((text) => text.startsWith("epoch")).map((text) => `Epoch ${text.slice(6)}`);
  check(epochs.every((epoch) => steps.includes(epoch)), `the charts run over the run's epochs (${[...new Set(epochs)]})`);
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

testOwn("the filters as a command for the terminal, which chooses the same rows", async () => {
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  const { columns } = await state(page);
  const number = columns.find((c) => c.kind === "number");
  if (number === undefined || (await page.locator(".legend-row").count()) < 2) return page;
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
  await shot(page, "revision");
  return page;
});
