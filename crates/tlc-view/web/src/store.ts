// What the page shows: the state, who wants to know of its changes, and the steps and tables of the manifest.
// Fetched data are in `data`, colours in `scales`, what is visible in `filters`, what is selected in `selection`.
import { ApiError, StaleError, type ColumnInfo, type Job, type Layout, type Manifest, type Source, type TableInfo } from "./api";
import type { Coords } from "./arrow";
import { Data } from "./data";
import { Filters } from "./filters";
import { plainName } from "./format";
import { makePoints, nextVersion, recount, type Points, type Ref } from "./points";
import { startCamera, type Camera } from "./renderer/camera";
import { firstColour, NO_COLOUR, Scales, type Range, type Scale } from "./scale";
import { Selection, type Mode } from "./selection";
import { makeSteps, type Step } from "./steps";

export type Topic =
  | "manifest" | "views" | "time" | "step" | "coords" | "colour" | "mask" | "selection" | "hover" | "highlight"
  | "sample" | "job" | "camera" | "theme" | "options" | "tool" | "notice" | "trouble" | "layout" | "drawn" | "ranges";

/** `dataset` -1 means all of them, overlaid. */
export interface View { layout: number; dataset: number }
export type Tool = "pan" | "lasso" | "box";
export type Ghost = "none" | "first" | "previous";
/** `action` is what can be done about it at once. */
export interface Notice { text: string; advice: string; bad: boolean; action: Action | null }
export interface Action { text: string; run: () => void }
/** A problem that takes the place of the map until it is solved. */
export interface Trouble { title: string; advice: string; retry: string | null }

export class Store {
  manifest!: Manifest;
  layouts = new Map<number, Layout>();
  private tables = new Map<number, TableInfo>();
  private datasetKeys = new Map<number, string>();
  private layoutTables = new Map<number, Set<number>>();
  steps: Step[] = [];
  points = new Map<number, Points>();
  /** Of columns of numbers, over all tables; empty until they are known. */
  ranges = new Map<string, Range>();
  /** Whether the first map is there, or is known not to come. */
  drawn = false;

  readonly data: Data;
  readonly scales = new Scales(this);
  readonly filters = new Filters(this);
  readonly selection = new Selection(this);

  views: View[] = [];
  cameras: Camera[] = [startCamera(), startCamera()];
  linked = true;
  activeView = 0;
  time = 0;
  playing = false;
  speed = 1;
  loop = true;
  colour = NO_COLOUR;
  tool: Tool = "pan";
  /** What a lasso or a box does to the selection if no key says otherwise. */
  mode: Mode = "replace";
  trails = false;
  ghost: Ghost = "none";
  showOod = true;
  labels = true;
  sizeFactor = 1;
  opacityFactor = 1;
  theme: "auto" | "light" | "dark" = "auto";
  dark = false;
  hover: (Ref & { view: number; here: number }) | null = null;
  highlight: number | null = null;
  sample: Ref | null = null;
  notice: Notice | null = null;
  trouble: Trouble | null = null;
  job: Job | null = null;

  private listeners = new Map<Topic, (() => void)[]>();
  /** Counts the manifests taken: numbers of tables mean something else in each. */
  generation = 0;
  private scaleVersion = 0;
  private refreshes = 0;

  constructor(readonly source: Source) {
    this.data = new Data(source, this, () => this.emit("coords"));
  }

  get scale(): Scale { return this.scales.current; }

  on(topics: Topic | Topic[], run: () => void): void {
    for (const topic of Array.isArray(topics) ? topics : [topics]) {
      const list = this.listeners.get(topic);
      if (list === undefined) this.listeners.set(topic, [run]);
      else list.push(run);
    }
  }

  emit(topic: Topic): void {
    for (const run of this.listeners.get(topic) ?? []) run();
  }

  tell(text: string, advice = "", bad = false, action: Action | null = null): void {
    this.notice = { text, advice, bad, action };
    this.emit("notice");
  }

  fail(error: unknown): void {
    const known = error instanceof ApiError ? error : new ApiError(error instanceof Error ? error.message : String(error), "", 0);
    this.tell(known.message, known.advice, !(error instanceof StaleError));
  }

  /** The first map is there: time for all that it could do without. */
  firstDrawn(): void {
    this.drawn = true;
    this.emit("drawn");
    void this.loadRanges();
  }

  private async loadRanges(): Promise<void> {
    const of = this.generation;
    if (!this.manifest.columns.some(({ kind }) => kind === "number")) return;
    // If the tables have changed, they are asked for again with the newer manifest.
    const ranges = await this.source.ranges().catch((error: unknown) => { if (!(error instanceof StaleError)) this.fail(error); return null; });
    if (ranges === null || of !== this.generation) return;
    this.ranges = new Map(Object.entries(ranges).map(([name, [lo, hi]]) => [name, { lo, hi }]));
    this.scaleVersion++;
    void this.refresh();
    this.emit("ranges");
  }

  // ---- manifest, steps, tables ----

  take(manifest: Manifest): void {
    const keysBefore = this.datasetKeys, namesBefore = this.manifest?.datasets.map((d) => d.name) ?? [];
    this.datasetKeys = new Map(manifest.datasets.map(({ id, name, rows }) => [id, `${rows} ${name}`]));
    for (const dataset of manifest.datasets) dataset.name = plainName(dataset.name);
    this.manifest = manifest;
    this.source.version = manifest.version ?? null;
    this.generation++;
    this.job = manifest.job ?? null;
    this.layouts = new Map(manifest.layouts.map((layout) => [layout.id, layout]));
    this.tables = new Map(manifest.tables.map((table) => [table.id, table]));
    this.layoutTables = new Map(manifest.layouts.map((layout) => [layout.id, new Set(layout.tables)]));
    const old = new Map([...this.points].map(([id, points]) => [keysBefore.get(id), points]));
    this.points = new Map(manifest.datasets.map((info) => [info.id, Object.assign(old.get(this.datasetKey(info.id)) ?? makePoints(info), { info })]));
    if ([...keysBefore].some(([id, key]) => this.datasetKeys.get(id) !== key)) this.selection.rebase();
    const again = [...this.datasetKeys].find(([, key]) => this.sample !== null && key === keysBefore.get(this.sample.dataset));
    this.sample = this.sample === null || again === undefined ? null : { ...this.sample, dataset: again[0] };
    this.hover = null;
    this.filters.renumber(namesBefore, manifest.datasets.map((d) => d.name));
    this.data.retain();
    this.scales.refit(this.scales.tight);
    this.steps = makeSteps(manifest);
    this.time = Math.min(this.time, Math.max(0, this.steps.length - 1));
    this.data.retry();
    // Tables may have other numbers now.
    this.scaleVersion++;
    this.filters.version++;
  }

  /** Takes up a newer manifest of the same run without losing what the user looks at. */
  update(manifest: Manifest): void {
    const before = this.steps.length;
    const status = this.manifest.status;
    const known = JSON.stringify(shownOf(this.manifest));
    if (known === JSON.stringify(shownOf(manifest))) {
      this.manifest = manifest;
      this.job = manifest.job ?? null;
      if (status !== manifest.status) this.emit("layout");
      return;
    }
    const label = this.steps[this.step]?.label;
    const atEnd = this.step >= before - 1;
    const unlabelled = this.manifest.columns.length === 0;
    const names = this.views.map((view) => this.layouts.get(view.layout)?.name);
    const datasets = this.views.map((view) => this.points.get(view.dataset)?.info.name);
    this.take(manifest);
    if (unlabelled && this.colour === NO_COLOUR) this.colour = firstColour(manifest);
    this.views = this.views.map((_, i) => ({
      layout: manifest.layouts.find((layout) => layout.name === names[i])?.id ?? -1,
      dataset: manifest.datasets.find((dataset) => dataset.name === datasets[i])?.id ?? -1,
    }));
    const same = this.steps.findIndex((step) => step.label === label);
    if (!atEnd && same >= 0) this.time = same;
    else if (atEnd) this.time = Math.max(0, this.steps.length - 1);
    this.views = this.views.filter((view) => this.layouts.has(view.layout));
    if (this.views.length === 0) this.views = this.defaultViews();
    this.activeView = Math.max(0, Math.min(this.activeView, this.views.length - 1));
    if (this.steps.length > before && before > 0) this.tell(`New: ${this.steps[this.steps.length - 1]!.label}`);
    this.emit("manifest");
    this.emit("views");
    void this.refresh();
    if (this.drawn) void this.loadRanges();
  }

  defaultViews(): View[] {
    const layout = this.layouts.get(this.manifest.layout ?? -1) ?? this.manifest.layouts[0];
    return layout === undefined ? [] : [{ layout: layout.id, dataset: this.manifest.datasets.length > 1 ? -1 : (this.manifest.datasets[0]?.id ?? -1) }];
  }

  get step(): number {
    return Math.min(Math.max(0, this.steps.length - 1), Math.max(0, Math.round(this.time)));
  }

  layoutOf(view: number): Layout | undefined {
    const id = this.views[view]?.layout;
    return id === undefined ? undefined : this.layouts.get(id);
  }

  /** Datasets of a view, in drawing order. */
  datasetsOf(view: number): number[] {
    const chosen = this.views[view]?.dataset;
    if (chosen === undefined) return [];
    const layout = this.layoutOf(view);
    if (layout === undefined) return [];
    const there = this.manifest.datasets.filter((d) => layout.tables.some((t) => this.table(t)?.dataset === d.id)).map((d) => d.id);
    return chosen === -1 ? there : there.filter((d) => d === chosen);
  }

  shownDatasets(): number[] {
    const all = this.manifest.datasets.map((d) => d.id);
    // Without a layout there is no map, but rows can still be looked at.
    return this.views.length === 0 ? all : all.filter((d) => this.views.some((_, i) => this.datasetsOf(i).includes(d)));
  }

  datasetKey(id: number): string { return this.datasetKeys.get(id) ?? ""; }
  table(id: number): TableInfo | undefined { return this.tables.get(id); }

  /** The layout's table of a dataset at a step; where an epoch has none, the latest before it, then the first after it. */
  tableAt(layout: number, dataset: number, step: number): number | undefined {
    const tables = this.layoutTables.get(layout);
    if (tables === undefined) return undefined;
    const at = (i: number) => this.steps[i]?.tables.find((t) => this.table(t)?.dataset === dataset && tables.has(t));
    for (let i = Math.min(step, this.steps.length - 1); i >= 0; i--) { const found = at(i); if (found !== undefined) return found; }
    for (let i = step + 1; i < this.steps.length; i++) { const found = at(i); if (found !== undefined) return found; }
    return undefined;
  }

  /** The table whose columns describe a dataset now. */
  currentTable(dataset: number): number | undefined {
    const order = [this.activeView, ...this.views.keys()];
    for (const view of order) {
      if (!this.datasetsOf(view).includes(dataset)) continue;
      const table = this.tableAt(this.views[view]!.layout, dataset, this.step);
      if (table !== undefined) return table;
    }
    for (let i = this.step; i >= 0; i--) {
      const found = this.steps[i]?.tables.find((t) => this.table(t)?.dataset === dataset);
      if (found !== undefined) return found;
    }
    return this.manifest.tables.find((t) => t.dataset === dataset)?.id;
  }

  /** Whether so many columns of what is shown can be kept all at once. */
  fits(columns: number): boolean { return 4 * columns * this.selection.shown <= this.data.columnRoom; }

  column(name: string): ColumnInfo | undefined { return this.manifest.columns.find((c) => c.name === name); }
  role(role: ColumnInfo["role"]): ColumnInfo | undefined { return this.manifest.columns.find((c) => c.role === role); }

  /** For drawing: returns what is there and fetches the rest; a failure becomes a message in the map's place. */
  wantCoords(layout: number, table: number): Coords | undefined {
    const now = this.data.coordsNow(layout, table);
    if (now === undefined && this.trouble === null) {
      this.data.coords(layout, table).catch((error: unknown) => {
        if (error instanceof StaleError) return;
        const known = error instanceof ApiError ? error : null;
        this.trouble = { title: known?.message ?? String(error), advice: known?.advice ?? "", retry: known?.status === 0 ? "Try again" : "Read the list again" };
        this.playing = false;
        this.emit("trouble");
      });
    }
    return now;
  }

  // ---- colour and visibility ----

  setColour(key: string): void {
    this.colour = key;
    this.highlight = null;
    void this.refresh();
  }

  refitColours(tight: boolean): void {
    this.scales.refit(tight);
    this.scaleVersion++;
    void this.refresh();
  }

  setTheme(theme: Store["theme"]): void {
    this.theme = theme;
    this.dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    this.emit("theme");
    if (this.manifest !== undefined) { this.scaleVersion++; void this.refresh(); }
  }

  /** Loads what colour and filters need for the step shown, then recomputes codes and masks. */
  async refresh(): Promise<void> {
    const mine = ++this.refreshes;
    if (this.manifest === undefined) return;
    const need = new Set(this.filters.columns());
    if (this.colour.startsWith("=")) need.add(this.colour.slice(1));
    const wanted: Promise<unknown>[] = [];
    const tables = new Map<number, number>();
    for (const dataset of this.points.keys()) {
      const table = this.currentTable(dataset);
      if (table !== undefined) tables.set(dataset, table);
    }
    this.data.holdColumns([...tables.values()].flatMap((table) => [...need].map((name) => ({ name, table }))));
    for (const table of tables.values()) {
      for (const name of need) if (this.data.valuesNow(name, table) === undefined) wanted.push(this.data.values(name, table));
    }
    if (wanted.length > 0) {
      const bad = (await Promise.allSettled(wanted)).find((result) => result.status === "rejected");
      if (mine !== this.refreshes) return;
      if (bad !== undefined) this.fail((bad as PromiseRejectedResult).reason);
    }
    this.scales.make(tables);
    let colours = false, masks = false;
    for (const [dataset, points] of this.points) {
      const table = tables.get(dataset);
      const codesKey = `${this.colour} ${table} ${this.scaleVersion} ${this.scale.lo} ${this.scale.hi}`;
      if (points.codesKey !== codesKey) {
        points.codesKey = codesKey;
        this.scales.codesInto(points, table);
        points.codesVersion = nextVersion();
        colours = true;
      }
      const maskKey = this.filters.active ? `${this.filters.version} ${table}` : "all";
      if (points.maskKey !== maskKey) {
        points.maskKey = maskKey;
        this.filters.maskInto(points, table);
        recount(points);
        masks = true;
      }
    }
    if (colours) this.emit("colour");
    if (masks) {
      this.emit("mask");
      if (this.selection.any) this.emit("selection");
    }
  }

  openSample(ref: Ref | null): void {
    this.sample = ref;
    this.emit("sample");
  }

  // ---- time and views ----

  setTime(time: number): void {
    const last = Math.max(0, this.steps.length - 1);
    const before = this.step;
    this.time = Math.min(last, Math.max(0, time));
    this.emit("time");
    if (this.step !== before) {
      // What could not be shown was the epoch before; this one may be there.
      if (this.trouble !== null) { this.trouble = null; this.emit("trouble"); }
      void this.refresh();
      this.emit("step");
    }
  }

  setViews(views: View[]): void {
    this.views = views;
    this.activeView = Math.max(0, Math.min(this.activeView, views.length - 1));
    this.trouble = null;
    this.emit("trouble");
    this.emit("views");
    void this.refresh();
    this.emit("selection");
  }

  option<K extends "trails" | "ghost" | "showOod" | "labels" | "sizeFactor" | "opacityFactor" | "linked" | "speed" | "loop">(key: K, value: Store[K]): void {
    (this as Store)[key] = value as never;
    this.emit("options");
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    // Its buttons go with the tools that it is for; nobody would see why clicks add.
    if (tool === "pan") this.mode = "replace";
    this.emit("tool");
  }

  setMode(mode: Mode): void {
    if (this.tool === "pan") this.tool = "lasso";
    this.mode = mode;
    this.emit("tool");
  }
}

/** The parts of a manifest whose change makes the page begin anew. */
const shownOf = (m: Manifest) => [m.version, m.tables, m.layouts, m.columns, m.message, m.notice, m.datasets.map((d) => [d.id, d.name, d.rows]), m.reduce];
