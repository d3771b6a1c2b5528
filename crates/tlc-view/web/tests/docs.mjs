// Pictures for the documentation, made of whatever run is served: `view-*.webp` in TLC_VIEW_SHOTS, as kept in docs/images.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { check, counts, lassoMiddle, launch, need, open, press, settle, show, shots, state, test } from "./lib.mjs";

const MOST_BYTES = 300_000;

/** Screenshots are PNG; the browser itself makes them smaller. */
async function keep(name, png) {
  const page = await (await launch()).newPage();
  const bytes = await page.evaluate(async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").drawImage(image, 0, 0);
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: "image/webp", quality: 0.86 })).arrayBuffer())];
  }, png.toString("base64"));
  await page.close();
  check(bytes.length > 5_000 && bytes.length <= MOST_BYTES, `${name} has ${bytes.length} bytes, at most ${MOST_BYTES} are wanted`);
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  writeFileSync(join(shots, `view-${name}.webp`), Buffer.from(bytes));
}

/** The deepest layer's layout, whose clusters are clearest, with so many dimensions. */
async function deepest(page, dims) {
  await show(page, dims);
  const { layouts } = await state(page);
  await page.getByRole("combobox", { name: "Layout" }).first().selectOption(String(layouts.findLast((layout) => layout.dims === dims).id));
  await settle(page, 900);
}

test("picture: a 3-D map with a lasso and what is in it", async () => {
  const page = await open({ width: 1440, height: 860 });
  await deepest(page, 3);
  await lassoMiddle(page, 0.16);
  check((await counts(page)).selected > 0, "something is selected");
  await page.mouse.move(5, 5);
  await settle(page, 900);
  await keep("map-3d-lasso", await page.screenshot());
  return page;
});

test("picture: dark, with trails of the longest movers", async () => {
  const page = await open({ width: 1440, height: 860, colorScheme: "dark" });
  await deepest(page, 2);
  need((await state(page)).finders.includes("movers") && (await state(page)).steps.length > 1, "several epochs");
  await page.getByRole("tab", { name: "Find" }).click();
  await page.getByRole("button", { name: /Longest movers/ }).click();
  await page.getByRole("button", { name: "Select all" }).click();
  await page.getByRole("tab", { name: "Selection" }).click();
  await page.locator(".surface").focus();
  await press(page, "t");
  await page.mouse.move(5, 5);
  await settle(page, 1500);
  check((await state(page)).trailSegments[0] > 0, "the trails are there");
  await keep("dark-trails", await page.screenshot());
  return page;
});

test("picture: two reductions side by side", async () => {
  const page = await open({ width: 1600, height: 860 });
  await deepest(page, 2);
  await press(page, "s");
  await settle(page, 900);
  check((await state(page)).views.length === 2, "two maps are shown");
  await lassoMiddle(page, 0.14);
  await page.mouse.move(5, 5);
  await settle(page, 900);
  await keep("side-by-side", await page.screenshot());
  return page;
});

test("picture: mislabelled suspects", async () => {
  const page = await open({ width: 1440, height: 860 });
  await deepest(page, 2);
  await page.getByRole("tab", { name: "Find" }).click();
  const finder = page.locator(".finder:not([disabled])").first();
  need((await finder.count()) > 0, "a finder");
  await finder.click();
  await page.locator(".found-row").first().waitFor();
  await page.getByRole("button", { name: "Select all" }).click();
  await page.mouse.move(5, 5);
  await settle(page, 900);
  await keep("suspects", await page.screenshot());
  return page;
});

test("picture: all epochs in one sheet", async () => {
  const page = await open({ width: 640, height: 740 });
  await deepest(page, 2);
  const { steps } = await state(page);
  need(steps.length > 1, "several epochs");
  const legend = page.locator(".legend > summary");
  if (await page.locator(".legend").getAttribute("open") !== null) await legend.click();
  // One camera for all: the last epoch's, so that the eye can follow.
  await press(page, "f");
  await settle(page, 900);
  const shown = steps.length <= 6 ? steps.map((_, i) => i) : [0, 1, 2, 3, 4, 5].map((i) => Math.round((i * (steps.length - 1)) / 5));
  const pictures = [];
  for (const step of shown) {
    await page.evaluate((step) => window.__tlc.setTime(step), step);
    await settle(page, 500);
    pictures.push({ label: steps[step], png: await page.evaluate(() => {
      // The points, and the names above them.
      const [points, names] = document.querySelectorAll(".surface canvas");
      const both = Object.assign(document.createElement("canvas"), { width: points.width, height: points.height });
      for (const layer of [points, names]) both.getContext("2d").drawImage(layer, 0, 0);
      return both.toDataURL("image/png");
    }) });
  }
  const sheet = await (await launch()).newPage({ viewport: { width: 1440, height: 200 }, colorScheme: "light" });
  await sheet.setContent(`<!doctype html><style>body{margin:0;padding:8px;display:grid;align-items:start;grid-template-columns:repeat(${Math.min(3, pictures.length)},1fr);gap:8px;font:600 15px system-ui,sans-serif;background:#fff;color:#14181f}figure{margin:0;border:1px solid #dfe5ec;border-radius:8px;overflow:hidden}figcaption{padding:6px 10px}img{width:100%;display:block}</style>`);
  await sheet.evaluate(async (pictures) => {
    for (const { label, png } of pictures) {
      const image = Object.assign(new Image(), { src: png });
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      caption.textContent = label;
      figure.append(caption, image);
      document.body.append(figure);
      await image.decode();
    }
  }, pictures);
  await keep("epochs", await sheet.screenshot({ fullPage: true }));
  await sheet.close();
  check(new Set(pictures.map((picture) => picture.png)).size === pictures.length, "every epoch has another picture");
  return page;
});
