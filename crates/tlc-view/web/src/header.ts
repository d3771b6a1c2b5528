// The bar on top (run, filters in force, theme, link, help), the pickers of each view, and the tools beside the map.
import { fill, h, icon, iconButton, onFrame, select, setPressed } from "./dom";
import { count, number, plainName, plural, shellWord } from "./format";
import { layoutOptions } from "./layoutnames";
import { openReduce, type Jobs } from "./reduce";
import { DATASET_COLOUR } from "./scale";
import { MODES, type Mode } from "./selection";
import type { Stage } from "./stage";
import type { Store, Tool } from "./store";

export interface Actions { help(): void; share(): void; panel(): void }

export function makeHeader(store: Store, actions: Actions): HTMLElement {
  const title = h("div", { class: "title" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Filters in force" });
  const theme = iconButton("theme", "Theme", () => {
    store.setTheme(store.dark ? "light" : "dark");
    try { localStorage.setItem("tlc-view-theme", store.theme); } catch { /* private mode */ }
  });
  const element = h("header", { class: "top" }, title, chips, h("div", { class: "top-end" },
    iconButton("share", "Copy a link to this view", actions.share), theme, iconButton("help", "Help and keys", actions.help, "?"), iconButton("panel", "Show or hide the panel", actions.panel, "P")));

  const renderTitle = () => {
    const { manifest } = store;
    const live = manifest.status === "running";
    const state = manifest.status === null ? null : h("span", { class: `status ${manifest.status}`, title: live ? "The run is still being written; new epochs appear by themselves." : "" }, manifest.status);
    const runs = manifest.runs.length > 1 && manifest.run !== null && store.source.live
      ? select("Run", manifest.runs.map((run) => ({ value: run, text: run })), manifest.run, (run) => { const url = new URL(location.href); url.searchParams.set("run", run); url.hash = ""; location.assign(url); })
      : h("h1", { dir: "auto", title: manifest.title }, plainName(manifest.title));
    const file = !store.source.live && h("span", { class: "status", title: "A copy in one file: what is in it works without a server." }, "exported file");
    fill(title, h("span", { class: "brand" }, "tlc"), runs, file || state);
    document.title = `${plainName(manifest.title)} · tlc view`;
  };
  const renderChips = () => {
    const list: HTMLElement[] = [];
    const chip = (text: string, clear: () => void) => list.push(h("span", { class: "chip" }, h("span", { dir: "auto" }, text), h("button", { type: "button", "aria-label": `Remove the filter ${text}`, onclick: clear }, icon("close"))));
    for (const [key, codes] of store.filters.hidden) {
      const classes = key === DATASET_COLOUR ? store.manifest.datasets.map((d) => d.name) : store.column(key.slice(1))?.classes ?? null;
      const left = classes === null || codes.size < classes.length ? [] : classes.filter((_, i) => !codes.has(i + 1));
      chip(`${key === DATASET_COLOUR ? "dataset" : key.slice(1)}: ${left.length === 1 ? `only ${left[0]}` : `${codes.size} hidden`}`, () => store.filters.setHidden(key, null));
    }
    for (const [name, range] of store.filters.ranges) {
      const lo = Number.isFinite(range.lo), hi = Number.isFinite(range.hi);
      chip(lo && hi ? `${name} ${number(range.lo)} … ${number(range.hi)}` : lo ? `${name} ≥ ${number(range.lo)}` : `${name} ≤ ${number(range.hi)}`, () => store.filters.setRange(name, null));
    }
    if (store.filters.onlyWrong) chip("only misclassified", () => store.filters.setOnlyWrong(false));
    if (list.length > 1) list.push(h("button", { type: "button", class: "link", onclick: () => store.filters.clear() }, "clear all"));
    fill(chips, ...list);
  };
  store.on(["manifest", "layout"], onFrame(renderTitle));
  store.on("mask", renderChips);
  renderTitle();
  return element;
}

export function makeViewBars(store: Store, stage: Stage, jobs: Jobs): void {
  const bars = [0, 1].map((view) => {
    const bar = h("div", { class: "view-bar card", role: "group", "aria-label": `Map ${view + 1}` });
    stage.element.append(bar);
    return bar;
  });
  const render = () => bars.forEach((bar, view) => {
    stage.element.classList.toggle("split", store.views.length > 1);
    stage.element.classList.toggle("mapped", store.views.length > 0);
    const there = store.views[view];
    bar.hidden = there === undefined;
    const rect = stage.rects[view];
    if (there === undefined || rect === undefined) return;
    // Above each other the second map's pickers must not lie on the tools.
    bar.style.left = `${rect.x + (rect.y > 0 ? 60 : 12)}px`;
    bar.style.top = `${rect.y + 12}px`;
    bar.style.maxWidth = `${Math.max(240, Math.min(rect.room, rect.width - (rect.y > 0 ? 72 : 24)))}px`;
    bar.classList.toggle("active", store.views.length > 1 && store.activeView === view);
    const wanted = JSON.stringify([there, store.manifest.layouts.map((layout) => layout.name), store.manifest.datasets, store.views.length, store.manifest.reduce]);
    if (bar.dataset.of === wanted) return;
    bar.dataset.of = wanted;
    const layout = store.layoutOf(view);
    const args = layout === undefined ? "" : [`${layout.name}, from ${layout.source}`, ...(layout.fitted_table === null ? [] : [`fitted on ${store.table(layout.fitted_table)?.name ?? layout.fitted_table}`]), ...Object.entries(layout.args).map(([k, v]) => `${k} = ${typeof v === "object" ? JSON.stringify(v) : String(v)}`)].join("\n");
    const change = (next: Partial<typeof there>) => { store.activeView = view; const dims = store.layoutOf(view)?.dims; store.setViews(store.views.map((v, i) => (i === view ? { ...v, ...next } : v))); if (next.layout !== undefined || store.layoutOf(view)?.dims !== dims) stage.wantFit(view); };
    const layoutSelect = select("Layout", layoutOptions(store), there.layout, (value) => change({ layout: Number(value) }));
    layoutSelect.title = args;
    const datasets = store.manifest.datasets;
    fill(bar, layoutSelect,
      datasets.length > 1 && select("Dataset", [{ value: -1, text: "all datasets" }, ...datasets.map((d) => ({ value: d.id, text: d.name }))], there.dataset, (value) => change({ dataset: Number(value) })),
      view === 0 && store.source.live && !!store.manifest.reduce && iconButton("plus", "Make another layout", () => openReduce(store, jobs)),
      store.views.length > 1 && view === 1 && iconButton("close", "Close this map", () => store.setViews([store.views[0]!])));
  });
  store.on(["views", "layout", "manifest"], render);
}

/** A second map beside the first: another layout if there is one, else another dataset. */
export function toggleSplit(store: Store, stage: Stage): void {
  if (store.views.length > 1) { store.setViews([store.views[0]!]); return; }
  const first = store.views[0];
  if (first === undefined) return;
  const here = store.layouts.get(first.layout)!;
  const others = store.manifest.layouts.filter((layout) => layout.id !== first.layout);
  const other = others.find((layout) => layout.dims === here.dims) ?? others[0];
  const datasets = store.manifest.datasets;
  const views = other === undefined && datasets.length > 1
    ? [{ ...first, dataset: datasets[0]!.id }, { ...first, dataset: datasets[1]!.id }]
    : [first, { ...first, layout: (other ?? here).id }];
  store.setViews(views);
  stage.wantFit(0);
  stage.wantFit(1);
}

/** Switches the active map between its 2-D and 3-D layouts. */
export function setDims(store: Store, stage: Stage, dims: number): void {
  const view = store.activeView;
  const now = store.layoutOf(view);
  if (now === undefined || now.dims === dims) return;
  const fit = store.manifest.layouts.filter((layout) => layout.dims === dims);
  const next = fit.find((layout) => layout.method === now.method && layout.source === now.source) ?? fit.find((layout) => layout.source === now.source) ?? fit[0];
  if (next === undefined) {
    const { run, reduce } = store.manifest;
    const ways = [store.source.live && reduce ? "with + above the map" : "", run === null ? "" : `with “tlc reduce ${shellWord(run)} --components ${dims}”`].filter((way) => way !== "");
    store.tell(`There is no ${dims}-D layout.`, ways.length === 0 ? "" : `Make one ${ways.join(", or ")}.`);
    return;
  }
  store.setViews(store.views.map((v, i) => (i === view ? { ...v, layout: next.id } : v)));
  stage.wantFit(view);
}

const MODE_NAMES: Record<Mode, [string, string]> = { replace: ["Select anew", "A"], add: ["Add to the selection", "A, or Shift + drag"], subtract: ["Take away from the selection", "A, or Alt + drag"] };

export function makeTools(store: Store, stage: Stage): HTMLElement {
  const tool = (name: Tool, label: string, keys: string) => iconButton(name, label, () => store.setTool(name), keys);
  const tools: [Tool, HTMLButtonElement][] = [["pan", tool("pan", "Move the map", "V")], ["lasso", tool("lasso", "Lasso", "E")], ["box", tool("box", "Box", "B")]];
  // Fingers have neither Shift nor Alt.
  const modes = MODES.map((mode) => iconButton(mode, MODE_NAMES[mode][0], () => store.setMode(mode), MODE_NAMES[mode][1]));
  const choice = h("div", { class: "card modes", role: "group", "aria-label": "What a lasso or a box does" }, ...modes);
  stage.element.append(choice);
  const dims = h("button", { type: "button", class: "icon-button dims", onclick: () => setDims(store, stage, store.layoutOf(store.activeView)?.dims === 2 ? 3 : 2) });
  const split = iconButton("split", "Two maps", () => toggleSplit(store, stage), "S");
  const link = iconButton("link", "Link the cameras", () => store.option("linked", !store.linked), "L");
  const size = h("input", { type: "range", min: -1, max: 1, step: 0.05, value: 0, "aria-label": "Point size", oninput: () => store.option("sizeFactor", 3 ** Number(size.value)) });
  const opacity = h("input", { type: "range", min: -1, max: 1, step: 0.05, value: 0, "aria-label": "Opacity", oninput: () => store.option("opacityFactor", 3 ** Number(opacity.value)) });
  const labels = h("input", { type: "checkbox", checked: store.labels, onchange: () => store.option("labels", labels.checked) });
  const wrong = h("input", { type: "checkbox", onchange: () => store.filters.setOnlyWrong(wrong.checked) });
  const popover = h("div", { class: "card display", role: "group", "aria-label": "Display", hidden: true },
    h("label", {}, "Point size", size), h("label", {}, "Opacity", opacity), h("label", { class: "check" }, labels, "Class names on the map"), h("label", { class: "check wrong" }, wrong, "Only misclassified (M)"));
  const expand = (on: boolean) => { popover.hidden = !on; tune.setAttribute("aria-expanded", String(on)); };
  const tune = iconButton("tune", "Display", () => expand(popover.hidden !== false));
  expand(false);
  // It goes away by Esc, and when anything else is used.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || popover.hidden) return;
    expand(false);
    tune.focus();
    event.stopImmediatePropagation();
  });
  document.addEventListener("pointerdown", (event) => { if (!popover.hidden && !popover.contains(event.target as Node) && !tune.contains(event.target as Node)) expand(false); });

  const element = h("div", { class: "tools card", role: "toolbar", "aria-label": "Map tools", "aria-orientation": "vertical" },
    ...tools.map(([, button]) => button), h("hr"),
    iconButton("plus", "Zoom in", () => stage.zoomBy(0.7), "+"), iconButton("minus", "Zoom out", () => stage.zoomBy(1 / 0.7), "−"),
    iconButton("fit", "Fit everything", () => stage.fit(), "F"), iconButton("focus", "Focus on the selection", () => stage.focusSelection(), "Z"), h("hr"), dims, split, link, tune);
  const render = () => {
    for (const [name, button] of tools) setPressed(button, store.tool === name);
    choice.hidden = store.tool === "pan";
    modes.forEach((button, i) => setPressed(button, store.mode === MODES[i]));
    const now = store.layoutOf(store.activeView)?.dims ?? 2;
    dims.textContent = `${now}-D`;
    const label = `Show ${now === 2 ? 3 : 2}-D`;
    dims.setAttribute("aria-label", label);
    dims.title = `${label} (${now === 2 ? 3 : 2})`;
    dims.disabled = store.manifest !== undefined && !store.manifest.layouts.some((layout) => layout.dims !== now);
    setPressed(split, store.views.length > 1);
    setPressed(link, store.linked);
    link.hidden = store.views.length < 2;
    labels.checked = store.labels;
    wrong.checked = store.filters.onlyWrong;
    wrong.parentElement!.hidden = store.role("label") === undefined || store.role("prediction") === undefined;
  };
  store.on(["tool", "options", "views", "manifest", "layout", "mask"], render);
  stage.element.append(popover);
  return element;
}

/** Numbers at the map's lower edge; the selection's count is announced. */
export function makeStatus(store: Store): HTMLElement {
  const points = h("span");
  const selected = h("span", { class: "selected", "aria-live": "polite", role: "status" });
  const element = h("div", { class: "status-line" }, selected, points);
  const render = onFrame(() => {
    const visible = store.selection.visible, all = store.selection.shown;
    let missing = 0;
    store.views.forEach((view, i) => { if (i === store.activeView) for (const dataset of store.datasetsOf(i)) {
      const table = store.tableAt(view.layout, dataset, store.step);
      if (table !== undefined) missing += store.data.coordsNow(view.layout, table)?.missing ?? 0;
    } });
    const parts = [visible < all ? `${count(visible)} of ${plural(all, "point")}` : plural(all, "point")];
    if (missing > 0) parts.push(`${count(missing)} without a position here`);
    points.textContent = parts.join(" · ");
    const chosen = store.selection.chosen;
    const text = chosen > 0 ? `${count(chosen)} selected` : store.selection.any ? "selection hidden by filters" : "";
    if (selected.textContent !== text) selected.textContent = text;
    element.classList.toggle("has-selection", text !== "");
  });
  store.on(["selection", "mask", "views", "step", "coords", "manifest"], render);
  return element;
}
