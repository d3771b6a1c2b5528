// What the tests share: a list of tests, a browser with software WebGL2, pages that fail on errors, pointers, screenshots.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const tests = [];
export const test = (name, run) => tests.push({ name, run, needsBinary: false });
/** For tests that start servers of their own. */
export const testOwn = (name, run) => tests.push({ name, run, needsBinary: true });

/** The address of the run that most tests look at. */
let base;
export const setBase = (url) => { base = url; };
export const shots = process.env.TLC_VIEW_SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const paths = [process.env.TLC_CHROMIUM, "/usr/bin/chromium-headless-shell", "/usr/bin/chromium", "/usr/bin/chromium-browser"];
let browser;

export async function launch() {
  browser ??= await chromium.launch({
    executablePath: paths.find((path) => path && existsSync(path)),
    args: ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  });
  return browser;
}

/** Closes what a test has left open. */
export const closePages = async () => { for (const context of browser?.contexts() ?? []) await context.close(); };
export const close = async () => { await browser?.close(); browser = undefined; };

/** Opens the page and waits for the first picture. Errors of the page end up in `page.troubles`. */
export async function open({ hash = "", url = base, wait = true, width = 1280, height = 800, reducedMotion = "reduce", before, ...options } = {}) {
  const context = await (await launch()).newContext({ viewport: { width, height }, reducedMotion, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error.stack ?? error)));
  page.on("console", (message) => { if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.troubles.push(message.text()); });
  page.on("dialog", (dialog) => { page.troubles.push(`a dialog: ${dialog.message()}`); void dialog.dismiss(); });
  const dist = process.env.TLC_VIEW_DIST;
  if (dist) await servePageFrom(context, dist);
  if (before) await before(page);
  await page.goto(url + hash);
  if (!wait) return page;
  await page.evaluate(() => window.__tlc.ready);
  await settle(page);
  return page;
}

/** Headers, and so the security policy, stay those of the server. */
async function servePageFrom(context, dist) {
  const put = (path, file) => context.route((url) => url.protocol === "http:" && url.pathname.replace(/^\/[0-9a-z]{26}\//, "/") === path, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: readFileSync(join(dist, file)) });
  });
  for (const file of ["app.js", "app.css"]) await put(`/${file}`, file);
  await put("/", "index.html");
}

/** From now on the page gets what the server says of the run with a change. */
export const changeManifest = (page, change) => page.route("**/api/manifest*", async (route) => {
  const response = await route.fetch();
  const manifest = await response.json();
  change(manifest);
  await route.fulfill({ response, json: manifest });
});

/** Two frames, so that what was asked for is drawn. */
export const settle = async (page, ms = 250) => {
  await page.waitForTimeout(ms);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
};

export const state = (page) => page.evaluate(() => window.__tlc.state());
export const counts = (page) => page.evaluate(() => window.__tlc.counts);

export async function shot(page, name) {
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`) });
}

/** The points as they are drawn; the same string is the same picture. */
export const picture = (page) => page.evaluate(() => document.querySelector("canvas.gl").toDataURL());

/** Places of the page where two pictures differ. */
export const differences = (page, one, other) => page.evaluate(async (urls) => {
  const box = document.querySelector("canvas.gl").getBoundingClientRect();
  const [a, b] = await Promise.all(urls.map(async (url) => {
    const image = Object.assign(new Image(), { src: url });
    await image.decode();
    const copy = new OffscreenCanvas(image.width, image.height).getContext("2d");
    copy.drawImage(image, 0, 0);
    return copy.getImageData(0, 0, image.width, image.height);
  }));
  const out = [];
  for (let i = 0; i < a.data.length; i += 4) if (a.data[i] !== b.data[i] || a.data[i + 1] !== b.data[i + 1] || a.data[i + 2] !== b.data[i + 2]) out.push({ x: box.left + ((i / 4) % a.width) * box.width / a.width, y: box.top + Math.floor(i / 4 / a.width) * box.height / a.height });
  return out;
}, [one, other]);

/** How far the picture is from the page's own colour at places of the page, and how vivid it is there. */
export const looks = (page, places) => page.evaluate((places) => {
  const canvas = document.querySelector("canvas.gl");
  const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  const at = (x, y) => data.subarray(4 * (Math.round(y) * canvas.width + Math.round(x)));
  const blank = at(1, 1);
  return places.map(({ x, y }) => {
    const [r, g, b] = at((x - box.left) * ratio, (y - box.top) * ratio);
    return { ink: Math.abs(r - blank[0]) + Math.abs(g - blank[1]) + Math.abs(b - blank[2]), vivid: Math.max(r, g, b) - Math.min(r, g, b) };
  });
}, places);

export function check(condition, what) {
  if (!condition) throw new Error(what);
}

/** What a test cannot go without in the run that is served. Such a test is not passed but skipped, and the runner counts it. */
export class Skip extends Error {}
export function need(condition, what) {
  if (!condition) throw new Skip(`needs ${what}`);
}

/** Positions on the screen of up to `limit` points of the first dataset shown, those that lie free on the map. */
export const positions = (page, limit = 4000) => page.evaluate(async (limit) => {
  const { rects } = window.__tlc.state();
  const box = document.querySelector(".surface").getBoundingClientRect();
  const covered = (x, y) => document.elementFromPoint(x, y)?.closest(".surface") === null;
  const out = [];
  const rows = Math.min(limit, window.__tlc.counts.shown);
  for (let slot = 0; slot < rows; slot++) {
    const at = window.__tlc.project(slot);
    if (at === null || at[0] < box.left + rects[0].x + 4 || at[0] > box.left + rects[0].x + rects[0].width - 4 || at[1] < box.top + 4 || at[1] > box.bottom - 4) continue;
    if (!covered(at[0], at[1])) out.push({ slot, x: at[0], y: at[1] });
  }
  return out;
}, limit);

/** Draws a closed ellipse with the pointer, starting in its middle, which is surely on the map (there and back encloses nothing). */
export async function ellipse(page, cx, cy, rx, ry, hold) {
  await page.mouse.move(cx, cy);
  await page.mouse.down();
  for (let i = 0; i <= 28; i++) await page.mouse.move(cx + rx * Math.cos((i / 28) * 2 * Math.PI), cy + ry * Math.sin((i / 28) * 2 * Math.PI));
  if (hold) await hold();
  await page.mouse.move(cx, cy);
  await page.mouse.up();
  await settle(page);
}

/** Where points are on the first map: the one nearest to the median of all, and the free width and height; page coordinates. */
export async function middle(page) {
  const points = await positions(page);
  const median = (key) => points.map((p) => p[key]).sort((a, b) => a - b)[points.length >> 1];
  const [mx, my] = [median("x"), median("y")];
  const near = points.reduce((best, p) => (Math.hypot(p.x - mx, p.y - my) < Math.hypot(best.x - mx, best.y - my) ? p : best));
  const r = await page.evaluate(() => window.__tlc.state().rects[0]);
  return [near.x, near.y, r.room, r.height];
}

export const press = async (page, ...keys) => { for (const key of keys) { await page.keyboard.press(key); await settle(page, 80); } };

/** Draws a lasso around the middle of the points; `share` of the map's free width and height is its radius. */
export async function lassoMiddle(page, share = 0.3, hold) {
  const at = await middle(page);
  const [x, y, w, h] = at;
  await press(page, "e");
  await ellipse(page, x, y, w * share, h * share, hold);
  return at;
}

/** Shows the map with so many dimensions, by its key. */
export async function show(page, dims) {
  need((await state(page)).layouts.some((layout) => layout.dims === dims), `a ${dims}-D layout`);
  await press(page, String(dims));
  await settle(page, 600);
  check((await state(page)).dims[0] === dims, `${dims} shows the ${dims}-D layout`);
}
