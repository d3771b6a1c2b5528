// The map: what is drawn, time, selections, two maps.
import { changeManifest, check, counts, differences, ellipse, lassoMiddle, looks, middle, need, open, picture, positions, press, settle, shot, show, state, test } from "./lib.mjs";

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
  need((await state(page)).columns.length > 1, "several columns");
  check((await state(page)).colour !== colour, "C changes the colour");
  await shot(page, "colour-next");
  return page;
});

test("the colours of a number hold for all epochs", async () => {
  const before = await open();
  const { columns, datasets: [{ id }], steps } = await state(before);
  const numbers = columns.filter((c) => c.kind === "number" && c.per === "table").map((c) => c.name);
  need(numbers.length > 0 && steps.length > 1, "numbers of several epochs");
  const at = async (page, step, names) => {
    await page.evaluate((step) => window.__tlc.setTime(step), step);
    await page.evaluate(({ names, id }) => window.__tlc.load(names, id), { names, id });
    await settle(page, 300);
    return page.evaluate(({ names, id }) => names.map((name) => window.__tlc.values(name, id)), { names, id });
  };
  // The column and the epoch whose values say the least of what other epochs hold: the hardest place to start from.
  const width = (values) => { const sorted = values.filter(Number.isFinite).sort((a, b) => a - b); return sorted[Math.floor(0.99 * sorted.length)] - sorted[Math.floor(0.01 * sorted.length)]; };
  const widths = [];
  for (const step of steps.keys()) widths.push((await at(before, step, numbers)).map(width));
  const hardest = numbers.map((name, k) => { const all = widths.map((row) => row[k]); return { name, start: all.indexOf(Math.min(...all)), factor: Math.max(...all) / Math.min(...all) }; }).sort((a, b) => b.factor - a.factor)[0];
  need(hardest.factor > 1.2, `a number that changes between epochs (by ${hardest.factor.toFixed(2)})`);
  await before.context().close();

  const page = await open({ hash: `#c=${encodeURIComponent(`=${hardest.name}`)}&e=${steps[hardest.start].replace("Epoch ", "")}` });
  const start = (await state(page)).step;
  check(start === hardest.start, "the page starts at that epoch");
  for (const step of [start, ...steps.keys()]) {
    const [values] = await at(page, step, [hardest.name]);
    const { lo, hi } = (await state(page)).scale;
    const outside = values.filter((v) => v < lo || v > hi).length / values.length;
    check(values.length > 0 && outside <= 0.021, `${steps[step]}: ${(100 * outside).toFixed(1)} % of ${hardest.name} lie outside of ${lo} to ${hi}`);
  }
  const { scale } = await state(page);
  await at(page, start, [hardest.name]);
  check(JSON.stringify((await state(page)).scale) === JSON.stringify(scale), "an epoch seen before does not change them");
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
  need(steps.length > 1, "several epochs");
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
  await settle(page, 500);
  check((await state(page)).step === steps.length - 1, "End on the slider goes to the last epoch");
  return page;
});

test("with reduced motion playing jumps from epoch to epoch", async () => {
  const page = await open();
  const { steps } = await state(page);
  need(steps.length > 1, "several epochs");
  await page.evaluate(() => window.__tlc.setTime(0));
  await page.locator(".surface").focus();
  await press(page, " ");
  const times = [];
  for (let i = 0; i < 30; i++) { times.push((await state(page)).time); await page.waitForTimeout(80); }
  check(times.every(Number.isInteger) && new Set(times).size > 1, `times are whole and go on (${[...new Set(times)]})`);
  return page;
});

test("lasso in 2-D adds, subtracts, inverts, clears, undoes", async () => {
  const page = await open();
  await show(page, 2);
  const [x, y, w, h] = await lassoMiddle(page, 0.3, () => shot(page, "lasso-drawing"));
  const all = await counts(page);
  check(all.selected > 0 && all.selected < all.shown, `the lasso selects some (${all.selected})`);
  const vivid = await page.evaluate(() => {
    const { datasets } = window.__tlc.state();
    const chosen = new Set(window.__tlc.selected(datasets[0].id));
    const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
    const of = (wanted) => median(Array.from({ length: Math.min(400, datasets[0].rows) }, (_, slot) => slot).filter((slot) => chosen.has(slot) === wanted).slice(0, 60)
      .map((slot) => window.__tlc.project(slot)).filter((at) => at !== null).map(([x, y]) => { const [r, g, b] = window.__tlc.pixel(x, y); return Math.max(r, g, b) - Math.min(r, g, b); }));
    return { chosen: of(true), rest: of(false) };
  });
  check(vivid.chosen > 2 * vivid.rest && vivid.rest < 40, `the selected points keep their colours, the others turn grey (${vivid.chosen}, ${vivid.rest})`);
  await shot(page, "lasso-2d");
  await page.keyboard.down("Alt");
  await ellipse(page, x, y, w * 0.12, h * 0.12);
  await page.keyboard.up("Alt");
  const less = (await counts(page)).selected;
  check(less < all.selected, `Alt subtracts (${less} of ${all.selected})`);
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

test("the wheel zooms to the pointer, Z to the selection", async () => {
  const page = await open();
  await show(page, 2);
  const [x, y] = await middle(page);
  const { slot } = (await positions(page)).reduce((best, p) => (Math.hypot(p.x - x, p.y - y) < Math.hypot(best.x - x, best.y - y) ? p : best));
  const before = (await state(page)).cameras[0].h;
  await page.mouse.move(x, y);
  await page.mouse.wheel(0, -300);
  await settle(page);
  const near = (await state(page)).cameras[0].h;
  const at = await page.evaluate((slot) => window.__tlc.project(slot), slot);
  check(near < before * 0.8 && Math.hypot(at[0] - x, at[1] - y) < 2, `it comes nearer, and what is under the pointer stays there (${at}, ${[x, y]})`);
  await page.mouse.wheel(0, 300);
  await settle(page);
  check(Math.abs((await state(page)).cameras[0].h / before - 1) < 1e-6, "and back");
  await lassoMiddle(page, 0.08);
  check((await counts(page)).selected > 0, "something is selected");
  await press(page, "z");
  await settle(page, 700);
  const { cameras, datasets, rects } = await state(page);
  check(cameras[0].h < before, "Z comes nearer");
  const box = await page.locator(".surface").boundingBox();
  const places = await page.evaluate((id) => window.__tlc.selected(id).map((slot) => window.__tlc.project(slot, id)), datasets[0].id);
  check(places.every(([px, py]) => px > box.x && px < box.x + rects[0].width && py > box.y && py < box.y + rects[0].height), "and has all that is selected in sight");
  return page;
});

test("dragging turns a 3-D map", async () => {
  const page = await open();
  await show(page, 3);
  const drag = async (dx, dy) => {
    const [x, y] = await middle(page);
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(x + dx, y + dy, { steps: 4 });
    await page.mouse.up();
    await page.mouse.move(5, 5);
    await settle(page);
  };
  const [before, first] = [(await state(page)).cameras[0], await picture(page)];
  await drag(80, 0);
  const [turned, second] = [(await state(page)).cameras[0], await picture(page)];
  check(turned.theta !== before.theta && turned.phi === before.phi && turned.h === before.h, "sideways turns it round its axis");
  check(second !== first, "and the picture is another");
  await drag(0, 60);
  check((await state(page)).cameras[0].phi !== turned.phi && (await picture(page)) !== second, "up and down tips it");
  return page;
});

test("lasso in 3-D adds and subtracts", async () => {
  const page = await open();
  await show(page, 3);
  const [x, y, w, h] = await lassoMiddle(page, 0.25);
  const all = (await counts(page)).selected;
  const with_ = async (key) => { await page.keyboard.down(key); await ellipse(page, x, y, w * 0.1, h * 0.1); await page.keyboard.up(key); return (await counts(page)).selected; };
  const less = await with_("Alt");
  check(less > 0 && less < all, `Alt takes the inner ones away (${less} of ${all})`);
  const again = await with_("Shift");
  check(again === all, `Shift brings them back (${again} of ${all})`);
  return page;
});

test("early epochs in a late map: what is far outside the fit is hollow", async () => {
  const page = await open();
  await show(page, 2);
  const { layouts, views, steps } = await state(page);
  need(layouts.find(({ id }) => id === views[0].layout).ood && steps.length > 1, "scores of several epochs");
  await page.evaluate(() => window.__tlc.setTime(0));
  await settle(page, 700);
  const at = await positions(page);
  const vivid = async () => (await looks(page, at)).map((look) => look.vivid);
  const hollow = await vivid();
  await press(page, "o");
  const filled = await vivid();
  const fainter = filled.filter((v, i) => v > hollow[i] + 25).length;
  need(fainter > 0 || !(await page.locator(".legend-notes").textContent()).includes("hollow"), "an epoch whose samples lie far outside");
  check(fainter > 0 && filled.filter((v, i) => v < hollow[i] - 25).length === 0, `the middle of some points is empty (${fainter} of ${at.length})`);
  await press(page, "o");
  check(JSON.stringify(await vivid()) === JSON.stringify(hollow), "O switches it off and on");
  return page;
});

test("speed and loop", async () => {
  const page = await open({ reducedMotion: "no-preference", before: (page) => page.clock.install() });
  const { steps } = await state(page);
  need(steps.length > 1, "several epochs");
  const speed = page.getByRole("combobox", { name: "Speed" }), loop = page.getByRole("button", { name: "Loop" });
  await page.clock.pauseAt(new Date(Date.now() + 3_600_000));
  /** Plays from an epoch for so long by the page's clock, and says how far it came. */
  const play = async (from, ms) => {
    await page.evaluate((from) => window.__tlc.setTime(from), from);
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await page.clock.runFor(ms);
    const { time, playing } = await state(page);
    if (playing) { await page.getByRole("button", { name: "Pause" }).click(); await page.clock.runFor(500); }
    return { time, playing };
  };
  // An epoch takes 1.25 seconds.
  await speed.selectOption("1");
  check((await play(0, 600)).time < 1, "half an epoch at the usual speed");
  await speed.selectOption("4");
  check((await play(0, 600)).time >= 1, "and more than one at four times that");
  const last = steps.length - 1;
  const [on, off] = [{ ...(await state(page)), ...await play(last - 1, 800) }, await loop.click().then(() => play(last - 1, 800))];
  check(on.loop && on.playing && on.time < last, `with a loop it begins again (${on.time})`);
  check(!(await state(page)).loop && !off.playing && off.time === last, `without it stops at the end (${off.time})`);
  return page;
});

test("ghosts of the first and of the previous epoch are drawn", async () => {
  const page = await open();
  await show(page, 2);
  const { layouts, steps } = await state(page);
  need(steps.length > 2, "three epochs");
  // The first layer's map is the one whose first epoch is not a heap already.
  await page.getByRole("combobox", { name: "Layout" }).first().selectOption(String(layouts.find(({ dims }) => dims === 2).id));
  await settle(page, 700);
  const last = steps.length - 1;
  const places = async (step) => { await page.evaluate((step) => window.__tlc.setTime(step), step); await settle(page, 500); return page.evaluate(() => window.__tlc.state().datasets.flatMap(({ id, rows }) => Array.from({ length: rows }, (_, slot) => window.__tlc.project(slot, id)).filter((at) => at !== null))); };
  const all = [];
  for (const step of steps.keys()) all.push(await places(step));
  const ghost = page.getByRole("combobox", { name: "Ghost" });
  for (const kind of ["first", "previous"]) {
    // A ghost may lie wholly below the points of one epoch, but not of every one.
    let drawn = 0;
    for (let step = last; step > 0; step--) {
      await ghost.selectOption("none");
      await places(step);
      const plain = await picture(page);
      await ghost.selectOption(kind);
      await settle(page);
      const changed = await differences(page, plain, await picture(page));
      const from = all[kind === "first" ? 0 : step - 1];
      const lost = changed.filter(({ x, y }) => !from.some(([px, py]) => Math.hypot(px - x, py - y) < 14));
      check(lost.length === 0, `${steps[step]}: the ghost of the ${kind} epoch is where its points were, and nowhere else (${lost.length} of ${changed.length} pixels)`);
      drawn += changed.length;
    }
    check(drawn > 10, `the ghost of the ${kind} epoch is drawn (${drawn} pixels)`);
  }
  return page;
});

test("lasso in 3-D agrees with the projection", async () => {
  const page = await open();
  await show(page, 3);
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
  need(after.dims[0] === after.dims[1], "two layouts with as many dimensions");
  check(Math.abs(after.cameras[1].h / before[1] - after.cameras[0].h / before[0]) < 1e-6, "the linked camera follows");
  await shot(page, "side-by-side");
  return page;
});

test("without a 3-D layout the page says how to make one", async () => {
  const page = await open({ before: (page) => changeManifest(page, (manifest) => {
    manifest.layouts = manifest.layouts.filter((layout) => layout.dims === 2);
    manifest.layout = manifest.layouts[0]?.id;
  }) });
  const { dims, run } = { dims: (await state(page)).dims[0], run: await page.evaluate(async () => (await (await fetch(new URL("api/manifest", document.baseURI))).json()).run) };
  need(dims === 2 && run !== null, "a run with a 2-D layout");
  await press(page, "3");
  const { notice } = await state(page);
  check(notice.text.includes("no 3-D layout") && notice.advice.includes(`tlc reduce ${run} --components 3`), `it is a command that works: ${notice.advice}`);
  return page;
});

test("the layout of the active map goes: the other map is the active one", async () => {
  const page = await open({ width: 1500 });
  need((await state(page)).layouts.length > 1, "two layouts");
  await press(page, "s");
  await settle(page, 700);
  const { rects, views } = await state(page);
  const box = await page.locator(".surface").boundingBox();
  await page.mouse.click(box.x + rects[1].x + 40, box.y + rects[1].height - 60);
  await changeManifest(page, (manifest) => { manifest.layouts = manifest.layouts.filter(({ id }) => id !== views[1].layout); manifest.layout = views[0].layout; });
  await page.evaluate(() => window.dispatchEvent(new Event("focus")));
  await page.waitForFunction(() => window.__tlc.state().views.length === 1);
  const before = (await state(page)).cameras[0].h;
  await page.locator(".surface").focus();
  await press(page, "+");
  check((await state(page)).cameras[0].h < before, "keys work on it");
  return page;
});

test("the legend gives datasets the shapes that they have on the map", async () => {
  // A dataset that no layout has comes first.
  const page = await open({ before: (page) => changeManifest(page, ({ datasets }) => datasets.unshift({ id: 97, name: "elsewhere", rows: 5, images: false, text: false })) });
  const { datasets } = await state(page);
  need(datasets.length > 2, "two datasets");
  const told = await page.locator(".legend-notes p").evaluateAll((all) => all.map((line) => `${line.querySelector("circle.solid") ? "disc" : "diamond"} ${line.textContent}`));
  check(JSON.stringify(told) === JSON.stringify([`disc ${datasets[1].name}`, `diamond ${datasets[2].name}`]), `the first of the map is a disc: ${told}`);
  return page;
});

test("train and validation side by side show the same part of the map", async () => {
  const page = await open({ width: 1500 });
  const { datasets } = await state(page);
  need(datasets.length > 1, "two datasets");
  await press(page, "s");
  await settle(page, 500);
  const pick = (name, view, value) => page.getByRole("combobox", { name }).nth(view).selectOption(String(value));
  await pick("Layout", 1, (await state(page)).views[0].layout);
  await pick("Dataset", 0, datasets[0].id);
  await pick("Dataset", 1, datasets[1].id);
  await settle(page, 600);
  const same = async (when) => { const [a, b] = (await state(page)).cameras; check(Math.abs(a.h / b.h - 1) < 1e-6 && Math.abs(a.x - b.x) < 1e-6, `${when} both cameras are the same`); };
  await same("at first");
  await page.locator(".surface").focus();
  await press(page, "+", "ArrowRight");
  await same("after moves");
  await press(page, "f");
  await settle(page, 700);
  await same("after a fit");
  check((await counts(page)).shown === datasets[0].rows + datasets[1].rows, "both datasets are counted");
  await shot(page, "train-val");
  return page;
});

test("trails and ghost", async () => {
  const page = await open();
  need((await state(page)).steps.length > 1, "several epochs");
  const [first] = await positions(page, 500);
  await page.mouse.click(first.x, first.y);
  await page.mouse.move(first.x, 5);
  await press(page, "t", "g");
  await settle(page, 700);
  const now = await state(page);
  check(now.trails && now.ghost === "first" && now.trailSegments[0] > 0, "the selected point has a trail");
  await shot(page, "trails");
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
