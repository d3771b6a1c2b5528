// Everybody can use it: themes, contrast, names, keyboard, narrow windows.
import { check, counts, lassoMiddle, middle, open, positions, press, settle, shot, show, state, test } from "./lib.mjs";

/** Texts whose contrast with what is behind them is below 4.5 (WCAG 2, level AA); runs in the page. */
const lowContrast = () => {
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
};

test("dark mode and contrast", async () => {
  for (const colorScheme of ["dark", "light"]) {
    const page = await open({ colorScheme });
    check((await state(page)).dark === (colorScheme === "dark"), "the page follows the system");
    const bad = [];
    for (const tab of ["Table", "Find", "Numbers", "Selection"]) {
      await page.getByRole("tab", { name: tab }).click();
      await settle(page, 500);
      bad.push(...await page.evaluate(lowContrast));
    }
    check(bad.length === 0, `contrast below 4.5: ${[...new Set(bad)].slice(0, 5).join("; ")}`);
    await shot(page, colorScheme === "dark" ? "dark" : "light-again");
    check(page.troubles.length === 0, page.troubles.join("\n"));
    await page.context().close();
  }
});

test("dark 3-D with a lasso", async () => {
  const page = await open({ colorScheme: "dark", width: 1500, height: 900 });
  await show(page, 3);
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
  for (const dims of [2, 3]) {
    if (!(await show(page, dims))) continue;
    const before = (await state(page)).cameras[0];
    await press(page, "ArrowRight", "ArrowUp");
    const after = (await state(page)).cameras[0];
    const moved = dims === 2 ? after.x > before.x && after.y > before.y : after.theta !== before.theta && after.phi !== before.phi;
    check(moved, dims === 2 ? "arrows move a 2-D map" : "arrows turn a 3-D map");
  }
  const edge = page.getByRole("separator", { name: "Width of the panel" });
  const width = () => page.locator(".sidebar").evaluate((node) => node.getBoundingClientRect().width);
  const narrow = await width();
  await edge.focus();
  await press(page, "ArrowLeft", "ArrowLeft");
  check((await width()) > narrow + 50, "the panel's edge moves");
  await page.locator(".surface").focus();
  await press(page, "?");
  check(await page.getByRole("dialog").isVisible(), "the help opens");
  await shot(page, "help");
  await press(page, "Escape");
  check((await page.getByRole("dialog").count()) === 0, "Esc closes it");
  return page;
});

test("fingers: one moves or turns, two zoom, a tap selects", async () => {
  const page = await open({ width: 800, height: 900, hasTouch: true });
  await show(page, 2);
  const cdp = await page.context().newCDPSession(page);
  const touch = (type, ...points) => cdp.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  const [x, y] = await middle(page);
  const before = (await state(page)).cameras[0];
  await touch("touchStart", [x, y]);
  for (let i = 1; i <= 5; i++) await touch("touchMove", [x + 12 * i, y]);
  await touch("touchEnd");
  await settle(page);
  const moved = (await state(page)).cameras[0];
  check(moved.x < before.x && moved.h === before.h, "one finger moves the map");
  await touch("touchStart", [x - 30, y], [x + 30, y]);
  for (let i = 1; i <= 5; i++) await touch("touchMove", [x - 30 - 12 * i, y], [x + 30 + 12 * i, y]);
  await touch("touchEnd");
  await settle(page);
  const near = (await state(page)).cameras[0];
  check(near.h < moved.h * 0.6, "two fingers zoom");
  const [point] = await positions(page, 500);
  await page.touchscreen.tap(point.x, point.y);
  await settle(page, 500);
  check((await state(page)).sample !== null, "a tap opens a sample");
  return page;
});

test("fingers: a lasso adds and takes away", async () => {
  const page = await open({ width: 800, height: 900, hasTouch: true });
  await show(page, 2);
  const cdp = await page.context().newCDPSession(page);
  const touch = (type, ...points) => cdp.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  const [x, y] = await middle(page);
  const draw = async (rx, ry) => {
    await touch("touchStart", [x, y]);
    for (let i = 0; i <= 24; i++) await touch("touchMove", [x + rx * Math.cos((i / 24) * 2 * Math.PI), y + ry * Math.sin((i / 24) * 2 * Math.PI)]);
    await touch("touchEnd");
    await settle(page);
    return (await counts(page)).selected;
  };
  const mode = (name) => page.getByRole("button", { name });
  check(!(await mode("Add to the selection").isVisible()), "nothing to choose while the map is moved");
  // Clicks: on a busy machine a tap lasts so long that the browser takes it for a long press.
  const choose = async (name) => { await mode(name).click(); await page.getByRole("button", { name, exact: true, pressed: true }).waitFor(); };
  await page.getByRole("button", { name: "Lasso", exact: true }).click();
  const wide = await draw(90, 30);
  await choose("Add to the selection");
  const cross = await draw(30, 90);
  check(cross > wide && wide > 0, `it adds (${wide}, ${cross})`);
  await choose("Take away from the selection");
  const left = await draw(30, 90);
  check(left < wide && left > 0, `and takes away (${left})`);
  await shot(page, "fingers-lasso");
  await press(page, "a");
  const anew = await draw(90, 30);
  check((await state(page)).mode === "replace" && anew === wide, `the key A goes on to the next (${anew})`);
  return page;
});

test("400 px wide", async () => {
  const page = await open({ width: 400, height: 800, hasTouch: true });
  check(await page.evaluate(() => document.documentElement.scrollWidth <= 400), "nothing sticks out");
  await shot(page, "narrow");
  await page.getByRole("button", { name: "Show or hide the panel" }).click();
  await settle(page, 400);
  check(await page.locator(".sidebar").isVisible(), "the drawer opens");
  const top = (await page.locator(".sidebar").boundingBox()).y;
  check((await page.evaluate(() => window.__tlc.project(0)))[1] < top, "the map moves into the room above it");
  await shot(page, "narrow-drawer");
  return page;
});
