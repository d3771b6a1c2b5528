// The run as one HTML file, opened from the disk without a network.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { check, counts, lassoMiddle, open, settle, shot, state, testOwn } from "./lib.mjs";
import { bin, project } from "./serve.mjs";

/** With TLC_VIEW_DIST the page of that folder takes the place of the binary's, with the policy's hash of it. */
function takePage(file) {
  const dist = process.env.TLC_VIEW_DIST;
  if (!dist) return;
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  const html = readFileSync(file, "utf8");
  const start = html.lastIndexOf("<script>") + "<script>".length;
  const old = html.slice(start, html.lastIndexOf("</script>"));
  const script = readFileSync(join(dist, "app.js"), "utf8").replaceAll("</script", "<\\/script");
  writeFileSync(file, html.split(old).join(script).replace(hash(old), hash(script)));
}

testOwn("the exported file works from the disk, asks for nothing, and says what it lacks", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tlc-view-"));
  try {
    const file = join(folder, "run.html");
    execFileSync(bin, ["export", "--project", project, "--html", file]);
    check(statSync(file).size > 100_000, "the file holds data");
    takePage(file);
    const asked = [];
    const page = await open({ url: pathToFileURL(file).href, offline: true, before: async (page) => page.on("request", (request) => { if (!/^(file|data|blob):/.test(request.url())) asked.push(request.url()); }) });
    check(!(await state(page)).live, "the page knows that it has no server");
    await lassoMiddle(page, 0.2);
    const { selected } = await counts(page);
    check(selected > 0, "the lasso works");
    const [csv] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV", exact: true }).click()]);
    check(csv.suggestedFilename().endsWith(".csv"), "CSV is made by the page itself");
    check((await page.getByRole("button", { name: "Parquet" }).count()) === 0 && /need a server/.test(await page.locator(".take-away").textContent()), "what needs a server is hidden, and it says why");
    await page.locator(".surface").focus();
    const { columns, datasets, steps } = await state(page);
    for (const step of steps.keys()) {
      await page.evaluate((step) => window.__tlc.setTime(step), step);
      for (const { id, rows } of datasets) {
        const lengths = await page.evaluate(async ({ names, id }) => { await window.__tlc.load(names, id); return names.map((name) => window.__tlc.values(name, id).length); }, { names: columns.map((c) => c.name), id });
        check(lengths.length > 0 && lengths.every((n) => n === rows), `every column is in the file at ${steps[step]} (${lengths})`);
      }
    }
    await settle(page, 500);
    await page.getByRole("tab", { name: "Table" }).click();
    await settle(page, 500);
    check((await page.locator(".t-row").count()) > 0, "the table has rows");
    await page.locator(".t-row").first().click();
    await settle(page, 500);
    check((await page.locator(".sample-card dd").count()) > 0, "a sample shows its values");
    // Lists were made of the last epoch. Those over all epochs hold at each; another epoch's suspects would be wrong samples.
    await page.getByRole("tab", { name: "Find" }).click();
    const { finders } = await page.evaluate(() => JSON.parse(document.getElementById("tlc-data").textContent).manifest);
    for (const step of [0, steps.length - 1]) {
      await page.evaluate((step) => window.__tlc.setTime(step), step);
      for (const { title, needs_epochs } of finders) {
        await page.getByRole("button", { name: title }).click();
        await page.waitForFunction(() => document.querySelector("#panel-2 .found, #panel-2 .bad") !== null);
        const there = step > 0 || needs_epochs;
        check((await page.locator("#panel-2 .bad").count()) === (there ? 0 : 1), `${title} at ${steps[step]}: ${there ? "a list" : "says that it is not in the file"}`);
        if (!there) check(/not part of the exported file/.test(await page.locator("#panel-2 .bad").textContent()), "and why");
        await page.getByRole("button", { name: "Back to all lists" }).click();
      }
    }
    await page.getByRole("tab", { name: "Numbers" }).click();
    await settle(page, 500);
    await shot(page, "exported-file");
    check(asked.length === 0, `nothing is asked for elsewhere: ${asked.join(" ")}`);
    return page;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
