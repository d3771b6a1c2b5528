// Which layout and datasets each map shows: the pickers above it, one map or two, 2-D or 3-D.
import { fill, h, iconButton, select } from "./dom";
import { shellWord } from "./format";
import { layoutOptions } from "./layoutnames";
import { openReduce, type Jobs } from "./reduce";
import type { Stage } from "./stage";
import type { Store } from "./store";

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
