// Starts the page: reads the manifest, builds the parts, keeps the hash and the manifest up to date.
import { ApiError, openSource } from "./api";
import { debounce, fill, h } from "./dom";
import { makeHeader } from "./header";
import { readHash, writeHash } from "./hash";
import { showHelp } from "./help";
import { listenKeys, makeKeys } from "./keys";
import { Legend } from "./legend";
import { makeNotices, makeTrouble } from "./notices";
import { copyText } from "./panels/export";
import { makeHoverCard } from "./panels/sample";
import { Sidebar } from "./panels/sidebar";
import { Jobs, makeProgress } from "./reduce";
import { firstColour } from "./scale";
import { Stage } from "./stage";
import { makeStatus } from "./status";
import { Store } from "./store";
import { Timeline } from "./timeline";
import { makeTools } from "./tools";
import { makeViewBars } from "./viewbars";

const POLL_MS = 10_000;
const LOOK_MS = 1_000;
/** Below this size all epochs are fetched ahead, so that the slider never waits. */
const PREFETCH_BYTES = 48 << 20;

declare global {
  interface Window { __tlc?: unknown }
}

let tellReady: () => void = () => undefined;
const ready = new Promise<void>((resolve) => { tellReady = resolve; });
window.__tlc = { ready, state: () => ({ started: false }) };

async function start(app: HTMLElement): Promise<void> {
  const store = new Store(openSource());
  let stored: string | null = null;
  try { stored = localStorage.getItem("tlc-view-theme"); } catch { /* private mode */ }
  const paint = () => { document.documentElement.dataset.theme = store.dark ? "dark" : "light"; };
  store.on("theme", paint);
  store.setTheme(stored === "light" || stored === "dark" ? stored : "auto");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (store.theme === "auto") store.setTheme("auto"); });

  store.take(await store.source.manifest());
  store.views = store.defaultViews();
  store.time = Math.max(0, store.steps.length - 1);
  store.colour = firstColour(store.manifest);

  const stage = new Stage(store);
  const { renderer } = stage;
  const timeline = new Timeline(store);
  const sidebar = new Sidebar(store, stage);
  const trailNote = () => {
    const trails = renderer.trailsShown[store.activeView];
    return trails === null || trails === undefined || trails.segments === 0 ? "trails need several epochs" : trails.centroids ? "trails of class centres (select up to 2,000 points for theirs)" : "trails: solid = past, faint = to come";
  };
  const legend = new Legend(store, trailNote);
  const legendToggled = () => stage.setLegend((legend.element as HTMLDetailsElement).open);
  legend.element.addEventListener("toggle", legendToggled);
  // Two narrow maps have no room for it; it stays one click away.
  let maps = 1;
  store.on("views", () => {
    if (store.views.length > maps && (stage.rects[1]?.width ?? 1e4) < 460) (legend.element as HTMLDetailsElement).open = false;
    maps = store.views.length;
  });
  stage.legendOpen = (legend.element as HTMLDetailsElement).open;
  const searchLegend = () => { (legend.element as HTMLDetailsElement).open = true; if (legend.search.isConnected) legend.search.focus(); else legend.element.querySelector<HTMLElement>("select, button")?.focus(); };
  const keys = makeKeys({ store, stage, timeline, sidebar, help: () => showHelp(keys), searchLegend });
  const share = () => void writeHash(store, stage).then((hash) => { const url = new URL(location.href); url.hash = hash; return copyText(store, url.href, "Link"); });
  const header = makeHeader(store, { help: () => showHelp(keys), share, panel: () => sidebar.toggle() });

  const reload = async () => {
    try {
      const manifest = await store.source.manifest();
      store.data.retry();
      store.trouble = null;
      store.update(manifest);
      store.emit("trouble");
      renderer.invalidate();
    } catch (error) {
      const known = error instanceof ApiError ? error : null;
      store.trouble = { title: known?.message ?? String(error), advice: known?.advice ?? "", retry: "Try again" };
      store.emit("trouble");
    }
  };

  // Said once, until something else is missing, or nothing could be put right.
  let missing = "";
  store.on("manifest", () => {
    const notice = store.manifest.notice ?? null, now = notice === null ? "" : notice.title + notice.advice;
    const again = { text: "Read the list again", run: () => { missing = ""; void reload(); } };
    if (notice !== null && now !== missing) store.tell(notice.title, notice.advice, true, again);
    missing = now;
  });

  const jobs = new Jobs(store, reload, (layout) => {
    // The first layout has the map to itself; a further one is for comparing.
    const first = store.views[0];
    if (first === undefined || first.layout === layout) return;
    store.setViews([first, { ...first, layout }]);
    stage.wantFit(1);
  });
  stage.element.append(makeTools(store, stage), legend.element, makeStatus(store), makeTrouble(store, jobs, () => renderer.works, () => void reload()), makeProgress(store, jobs));
  makeViewBars(store, stage, jobs);
  makeHoverCard(store, stage);
  fill(app, header, h("main", {}, stage.element), timeline.element, sidebar.element, makeNotices(store));
  sidebar.toggle(sidebar.open);
  listenKeys(keys, stage);

  expose(store, stage, timeline);
  const drawn = stage.renderer.onDrawn;
  let first = true;
  const begin = () => { if (!store.drawn) store.firstDrawn(); tellReady(); };
  // The first map may be one that cannot be had. Panels do not wait for it; the first that can is still followed by the others.
  store.on("trouble", () => { if (store.trouble !== null) begin(); });
  renderer.onDrawn = () => {
    drawn();
    const there = store.views.every((view, i) => store.datasetsOf(i).every((d) => { const t = store.tableAt(view.layout, d, store.step); return t === undefined || store.data.coordsNow(view.layout, t) !== undefined; }));
    if (first && there) { first = false; begin(); void prefetch(store); }
  };

  store.source.onStale = look(store);
  let reading = false;
  /** A link must never keep the page from opening. */
  const readLink = async () => {
    reading = true;
    try { await readHash(store, stage, location.hash); } catch (error) { console.warn(error); store.tell("The link could not be read.", "It is damaged; the page shows what it shows without one.", true); }
    reading = false;
  };
  await readLink();
  for (const topic of ["manifest", "views", "options", "tool", "time", "trouble", "mask", "colour", "selection"] as const) store.emit(topic);
  if (store.views.length === 0 || !renderer.works) { first = false; begin(); }

  let written = location.hash;
  const saveHash = debounce(400, () => {
    if (store.playing || reading || store.views.length === 0) return;
    void writeHash(store, stage).then((hash) => { written = `#${hash}`; history.replaceState(null, "", written); }, () => undefined);
  });
  store.on(["views", "step", "colour", "mask", "selection", "camera", "options"], saveHash);
  window.addEventListener("hashchange", () => {
    if (location.hash === written) return;
    store.selection.clear();
    void readLink().then(() => { for (const topic of ["views", "options", "time", "mask"] as const) store.emit(topic); });
  });

}

async function prefetch(store: Store): Promise<void> {
  for (const view of store.views) {
    const layout = store.layouts.get(view.layout);
    if (layout === undefined) continue;
    const tables = layout.tables.map((id) => store.table(id)).filter((table) => table !== undefined);
    if (tables.reduce((sum, table) => sum + 8 * (store.points.get(table.dataset)?.info.rows ?? 0), 0) > PREFETCH_BYTES) continue;
    for (const table of tables) { try { await store.data.coords(layout.id, table.id); } catch { return; } }
  }
}

/** Reads the manifest again: now and then while the run is being written, when whoever went away comes back, and when asked by
 *  the function returned. Never twice within a second; a server that is gone is said once, not every ten seconds. */
function look(store: Store): () => void {
  let gone = false, waiting = false, last = 0;
  const soon = () => {
    if (waiting || !store.source.live) return;
    waiting = true;
    setTimeout(() => {
      store.source.manifest().then((manifest) => { gone = false; store.update(manifest); }, (error: unknown) => { if (!gone) { gone = true; store.fail(error); } })
        .finally(() => { waiting = false; last = performance.now(); });
    }, Math.max(0, last + LOOK_MS - performance.now()));
  };
  setInterval(() => { if (store.manifest.status === "running" && !document.hidden) soon(); }, POLL_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
  window.addEventListener("focus", soon);
  return soon;
}

/** For the tests, and for the curious. */
function expose(store: Store, stage: Stage, timeline: Timeline): void {
  window.__tlc = {
    ready,
    state: () => ({
      started: true, time: store.time, step: store.step, steps: store.steps.map((step) => step.label), playing: store.playing, speed: store.speed, loop: store.loop, colour: store.colour, scale: { lo: store.scale.lo, hi: store.scale.hi }, views: store.views, tool: store.tool, mode: store.mode,
      dims: store.views.map((_, i) => store.layoutOf(i)?.dims), layouts: store.manifest.layouts.map(({ id, dims, method, args, ood }) => ({ id, dims, method, args, ood })), columns: store.manifest.columns.map(({ name, kind, role, per }) => ({ name, kind, role, per })),
      datasets: store.manifest.datasets, finders: store.manifest.finders.map((finder) => finder.id), hidden: store.filters.hidden.size, filters: Object.fromEntries(store.filters.ranges), onlyWrong: store.filters.onlyWrong, trails: store.trails, ghost: store.ghost,
      dark: store.dark, cameras: store.cameras, sample: store.sample, trouble: store.trouble, notice: store.notice, live: store.source.live, rects: stage.rects, trailSegments: stage.renderer.trailsShown.map((t) => t?.segments ?? 0),
    }),
    get counts() { return { shown: store.selection.shown, visible: store.selection.visible, selected: store.selection.chosen }; },
    get frame() { return stage.renderer.frame; },
    get lassoMs() { return stage.lassoMs; },
    get gl() { return stage.renderer.name; },
    get memory() { return store.data.memory; },
    /** As if columns were so much longer than they are. */
    limitColumns: (bytes: number) => { store.data.columnRoom = bytes; void store.refresh(); },
    /** Values of a column in the table shown, if they are there; `load` fetches them. */
    values: (name: string, dataset: number) => { const found = store.data.valuesNow(name, store.currentTable(dataset) ?? -1); return [...(found?.floats ?? found?.ints ?? found?.texts ?? [])]; },
    load: (names: string[], dataset: number) => Promise.all(names.map((name) => store.data.values(name, store.currentTable(dataset) ?? -1))).then(() => undefined),
    selectedIds: async (dataset: number) => { const ids = await store.data.loadIds(dataset); return Array.from(store.selection.rows(true).find((part) => part.dataset === dataset)?.slots ?? [], (slot) => ids[slot]); },
    selected: (dataset: number) => Array.from(store.selection.rows(true).find((part) => part.dataset === dataset)?.slots ?? []),
    project: (slot: number, dataset = store.datasetsOf(0)[0] ?? 0, view = 0) => {
      const at = stage.where(dataset, slot, view);
      if (at === null) return null;
      const box = stage.surface.getBoundingClientRect();
      return [at[0] + box.left, at[1] + box.top];
    },
    pixel: (x: number, y: number) => { const box = stage.surface.getBoundingClientRect(); return stage.renderer.pixel(x - box.left, y - box.top); },
    setTime: (step: number) => { timeline.stop(); store.setTime(step); },
    loseContext: () => { const gl = stage.renderer.canvas.getContext("webgl2"); const e = gl?.getExtension("WEBGL_lose_context"); e?.loseContext(); return () => e?.restoreContext(); },
  };
}

const app = document.getElementById("app") ?? document.body.appendChild(h("div", { id: "app" }));
start(app).catch((error: unknown) => {
  const known = error instanceof ApiError ? error : null;
  if (known === null) console.error(error);
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  // A run that was removed stays so, but the server has one to show by itself.
  const address = new URL(location.href);
  const named = (known?.status ?? 0) >= 400 && address.searchParams.has("run");
  address.searchParams.delete("run");
  address.hash = "";
  fill(app, h("div", { class: "trouble whole", role: "alert" }, h("div", { class: "card" }, h("h1", {}, known?.message ?? "The page could not start."), h("p", { dir: "auto" }, known?.advice ?? (error instanceof Error ? error.message : String(error))),
    h("div", { class: "dialog-actions" }, h("button", { type: "button", class: "text-button primary", onclick: () => location.reload() }, "Try again"),
      named && h("a", { class: "text-button", href: address.href }, "Show the server's own run")))));
  tellReady();
});
