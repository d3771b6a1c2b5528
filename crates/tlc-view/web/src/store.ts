// What the page shows: state, loaded data, and who wants to know of changes. No drawing here.
import { ApiError, type ColumnInfo, type Dataset, type Layout, type Manifest, type Source, type TableInfo } from "./api";
import { readColumn, readCoords, readIds, type Column, type Coords } from "./arrow";
import { className, number } from "./format";
import { categorical, diverging, NO_VALUE, sequential, type Rgb } from "./palette";
import { startCamera, type Camera } from "./renderer/camera";

export type Topic =
  | "manifest" | "views" | "time" | "step" | "coords" | "colour" | "mask" | "selection" | "hover" | "highlight"
  | "sample" | "camera" | "theme" | "options" | "tool" | "notice" | "trouble" | "layout";

/** `dataset` -1 means all of them, overlaid. */
export interface View { layout: number; dataset: number }
export interface Step { label: string; epoch: number | null; tables: number[] }
export interface Range { lo: number; hi: number }
export interface Ref { dataset: number; slot: number }
export type Tool = "pan" | "lasso" | "box";
export type Ghost = "none" | "first" | "previous";
export type Mode = "replace" | "add" | "subtract";
export interface Notice { text: string; advice: string; bad: boolean }
/** A problem that takes the place of the map until it is solved. */
export interface Trouble { title: string; advice: string; retry: string | null }

/** Everything per dataset that is as long as the dataset. */
export interface Points {
  info: Dataset;
  /** Colour of every point as an index into the scale; 0 = no value. */
  codes: Uint16Array;
  mask: Uint8Array;
  selected: Uint8Array;
  codesVersion: number;
  stateVersion: number;
  codesKey: string;
  maskKey: string;
  visible: number;
  /** Selected and visible: what counts, lists and exports mean by "the selection". */
  chosen: number;
}

export interface Scale {
  kind: "category" | "number" | "none";
  column: ColumnInfo | null;
  title: string;
  /** Colour of code i; code 0 is "no value". */
  colours: Rgb[];
  name: (code: number) => string;
  lo: number;
  hi: number;
  diverging: boolean;
}

export const RAMP = 255;
export const columnKey = (name: string) => `=${name}`;
export const DATASET_COLOUR = "dataset";
export const NO_COLOUR = "none";

/** Least recently used things go first when there are too many bytes. */
class Cache<T> {
  private readonly map = new Map<string, { value: T; bytes: number }>();
  private total = 0;
  constructor(private readonly limit: number) {}
  get(key: string): T | undefined {
    const entry = this.map.get(key);
    if (entry === undefined) return undefined;
    this.map.delete(key);
    this.map.set(key, entry);
    return entry.value;
  }
  set(key: string, value: T, bytes: number): void {
    this.map.set(key, { value, bytes });
    this.total += bytes;
    for (const [old, entry] of this.map) {
      if (this.total <= this.limit || old === key) break;
      this.map.delete(old);
      this.total -= entry.bytes;
    }
  }
  get bytes() { return this.total; }
}

export class Store {
  manifest!: Manifest;
  layouts = new Map<number, Layout>();
  private tables = new Map<number, TableInfo>();
  private layoutTables = new Map<number, Set<number>>();
  steps: Step[] = [];
  points = new Map<number, Points>();

  views: View[] = [];
  cameras: Camera[] = [startCamera(), startCamera()];
  linked = true;
  activeView = 0;
  time = 0;
  playing = false;
  speed = 1;
  loop = true;
  colour = NO_COLOUR;
  hidden = new Map<string, Set<number>>();
  filters = new Map<string, Range>();
  onlyWrong = false;
  tool: Tool = "pan";
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
  scale: Scale = { kind: "none", column: null, title: "", colours: [NO_VALUE], name: () => "", lo: 0, hi: 1, diverging: false };
  hasSelection = false;

  private listeners = new Map<Topic, (() => void)[]>();
  private coordsCache = new Cache<Coords>(72 << 20);
  private columnCache = new Cache<Column>(48 << 20);
  private loading = new Map<string, Promise<unknown>>();
  private failed = new Map<string, ApiError>();
  private ids = new Map<number, { ids: Float64Array; identity: boolean; order: Uint32Array | null }>();
  private textCodes = new Map<string, { codes: Map<string, number>; names: string[] }>();
  private domains = new Map<string, Range>();
  tight = false;
  private filterVersion = 0;
  private scaleVersion = 0;
  private refreshes = 0;

  constructor(readonly source: Source) {}

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

  tell(text: string, advice = "", bad = false): void {
    this.notice = { text, advice, bad };
    this.emit("notice");
  }

  fail(error: unknown): void {
    const known = error instanceof ApiError ? error : new ApiError(error instanceof Error ? error.message : String(error), "", 0);
    this.tell(known.message, known.advice, true);
  }

  // ---- manifest, steps, tables ----

  take(manifest: Manifest): void {
    this.manifest = manifest;
    this.layouts = new Map(manifest.layouts.map((layout) => [layout.id, layout]));
    this.tables = new Map(manifest.tables.map((table) => [table.id, table]));
    this.layoutTables = new Map(manifest.layouts.map((layout) => [layout.id, new Set(layout.tables)]));
    for (const info of manifest.datasets) {
      const old = this.points.get(info.id);
      if (old !== undefined && old.info.rows === info.rows) { old.info = info; continue; }
      this.points.set(info.id, {
        info, codes: new Uint16Array(info.rows), mask: new Uint8Array(info.rows).fill(1), selected: new Uint8Array(info.rows),
        codesVersion: 1, stateVersion: 1, codesKey: "", maskKey: "", visible: info.rows, chosen: 0,
      });
      this.ids.delete(info.id);
    }
    this.steps = makeSteps(manifest);
    this.time = Math.min(this.time, Math.max(0, this.steps.length - 1));
    this.failed.clear();
  }

  /** Takes up a newer manifest of the same run without losing what the user looks at. */
  update(manifest: Manifest): void {
    const before = this.steps.length;
    const status = this.manifest.status;
    const known = JSON.stringify([this.manifest.tables, this.manifest.layouts, this.manifest.columns, this.manifest.message, this.manifest.datasets]);
    if (known === JSON.stringify([manifest.tables, manifest.layouts, manifest.columns, manifest.message, manifest.datasets])) {
      this.manifest = manifest;
      if (status !== manifest.status) this.emit("layout");
      return;
    }
    const label = this.steps[this.step]?.label;
    const atEnd = this.step >= before - 1;
    this.take(manifest);
    const same = this.steps.findIndex((step) => step.label === label);
    if (!atEnd && same >= 0) this.time = same;
    else if (atEnd) this.time = Math.max(0, this.steps.length - 1);
    if (this.views.length === 0) this.views = this.defaultViews();
    this.views = this.views.filter((view) => this.layouts.has(view.layout));
    if (this.views.length === 0) this.views = this.defaultViews();
    if (this.steps.length > before && before > 0) this.tell(`New: ${this.steps[this.steps.length - 1]!.label}`);
    this.emit("manifest");
    this.emit("views");
    void this.refresh();
  }

  defaultViews(): View[] {
    const layout = this.manifest.layouts[0];
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

  column(name: string): ColumnInfo | undefined { return this.manifest.columns.find((c) => c.name === name); }
  role(role: ColumnInfo["role"]): ColumnInfo | undefined { return this.manifest.columns.find((c) => c.role === role); }

  // ---- loading ----

  private once<T>(key: string, run: () => Promise<T>): Promise<T> {
    const running = this.loading.get(key) as Promise<T> | undefined;
    if (running !== undefined) return running;
    const failed = this.failed.get(key);
    if (failed !== undefined) return Promise.reject(failed);
    const promise = run().catch((error: unknown) => {
      if (error instanceof ApiError) this.failed.set(key, error);
      throw error;
    }).finally(() => this.loading.delete(key));
    this.loading.set(key, promise);
    return promise;
  }

  /** Forget failures, so that the next use asks again. */
  retry(): void { this.failed.clear(); }

  coordsNow(layout: number, table: number): Coords | undefined { return this.coordsCache.get(`${layout}/${table}`); }

  coords(layout: number, table: number): Promise<Coords> {
    const now = this.coordsNow(layout, table);
    if (now !== undefined) return Promise.resolve(now);
    const key = `${layout}/${table}`;
    return this.once(`coords ${key}`, async () => {
      const coords = readCoords(await this.source.coords(layout, table));
      this.coordsCache.set(key, coords, coords.xyzw.byteLength);
      this.emit("coords");
      return coords;
    });
  }

  /** For drawing: returns what is there and fetches the rest; a failure becomes a message in the map's place. */
  wantCoords(layout: number, table: number): Coords | undefined {
    const now = this.coordsNow(layout, table);
    if (now === undefined && this.trouble === null) {
      this.coords(layout, table).catch((error: unknown) => {
        const known = error instanceof ApiError ? error : null;
        this.trouble = { title: known?.message ?? String(error), advice: known?.advice ?? "", retry: known?.status === 0 ? "Try again" : "Read the list again" };
        this.playing = false;
        this.emit("trouble");
      });
    }
    return now;
  }

  private columnId(name: string, table: number): string {
    const info = this.column(name);
    const dataset = this.table(table)?.dataset ?? -1;
    return info?.per === "dataset" ? `d${dataset} ${name}` : `t${table} ${name}`;
  }

  valuesNow(name: string, table: number): Column | undefined { return this.columnCache.get(this.columnId(name, table)); }

  values(name: string, table: number): Promise<Column> {
    const now = this.valuesNow(name, table);
    if (now !== undefined) return Promise.resolve(now);
    const key = this.columnId(name, table);
    const info = this.column(name);
    if (info === undefined) return Promise.reject(new ApiError(`There is no column “${name}”.`, "Choose another colour or filter.", 404));
    return this.once(`column ${key}`, async () => {
      const values = readColumn(await this.source.column(name, table), info.kind);
      this.columnCache.set(key, values, values.bytes);
      return values;
    });
  }

  async loadIds(dataset: number): Promise<Float64Array> {
    const known = this.ids.get(dataset);
    if (known !== undefined) return known.ids;
    return this.once(`ids ${dataset}`, async () => {
      const ids = readIds(await this.source.ids(dataset));
      let identity = true;
      for (let i = 0; i < ids.length && identity; i++) identity = ids[i] === i;
      this.ids.set(dataset, { ids, identity, order: null });
      return ids;
    });
  }

  idOf(dataset: number, slot: number): number | undefined { return this.ids.get(dataset)?.ids[slot]; }

  /** Binary search over a sorted permutation: a Map of a million ids would cost 60 MB. */
  slotOf(dataset: number, id: number): number {
    const known = this.ids.get(dataset);
    if (known === undefined) return -1;
    const { ids } = known;
    if (known.identity) return id >= 0 && id < ids.length && Number.isInteger(id) ? id : -1;
    if (known.order === null) {
      known.order = new Uint32Array(ids.length);
      for (let i = 0; i < ids.length; i++) known.order[i] = i;
      known.order.sort((a, b) => ids[a]! - ids[b]!);
    }
    let lo = 0, hi = ids.length - 1;
    while (lo <= hi) {
      const mid = (lo + hi) >> 1;
      const slot = known.order[mid]!;
      if (ids[slot] === id) return slot;
      if (ids[slot]! < id) lo = mid + 1; else hi = mid - 1;
    }
    return -1;
  }

  /** Text of one value, for cards and tables. */
  show(info: ColumnInfo, values: Column | undefined, slot: number): string {
    if (values === undefined) return "…";
    if (values.floats !== null) {
      // One way of writing per column: “1.000” among fractions, “1” among counts.
      values.whole ??= values.floats.subarray(0, 500).every((v) => v !== v || Number.isInteger(v));
      const v = values.floats[slot]!;
      return !values.whole && Number.isInteger(v) && Math.abs(v) < 1000 ? v.toFixed(3) : number(v);
    }
    if (values.texts !== null) return values.texts[slot] ?? "–";
    const v = values.ints![slot]!;
    if (v < 0 && info.kind === "category") return "–";
    if (info.kind === "boolean") return v < 0 ? "–" : v === 1 ? "yes" : "no";
    return className(info.classes, v);
  }

  // ---- colour and visibility ----

  setColour(key: string): void {
    this.colour = key;
    this.highlight = null;
    void this.refresh();
  }

  /** Fits the number ramp to the values of the step shown, or gives it the whole range again. */
  refitColours(tight: boolean): void {
    this.tight = tight;
    this.domains.clear();
    this.scaleVersion++;
    void this.refresh();
  }

  setTheme(theme: Store["theme"]): void {
    this.theme = theme;
    this.dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    this.emit("theme");
    if (this.manifest !== undefined) { this.scaleVersion++; void this.refresh(); }
  }

  setHidden(column: string, codes: Set<number> | null): void {
    if (codes === null || codes.size === 0) this.hidden.delete(column);
    else this.hidden.set(column, codes);
    this.filterVersion++;
    void this.refresh();
  }

  setFilter(column: string, range: Range | null): void {
    if (range === null) this.filters.delete(column);
    else this.filters.set(column, range);
    this.filterVersion++;
    void this.refresh();
  }

  setOnlyWrong(on: boolean): void {
    this.onlyWrong = on && this.role("label") !== undefined && this.role("prediction") !== undefined;
    this.filterVersion++;
    void this.refresh();
  }

  clearFilters(): void {
    this.hidden.clear();
    this.filters.clear();
    this.onlyWrong = false;
    this.filterVersion++;
    void this.refresh();
  }

  get filtered(): boolean { return this.hidden.size > 0 || this.filters.size > 0 || this.onlyWrong; }

  /** Loads what colour and filters need for the step shown, then recomputes codes and masks. */
  async refresh(): Promise<void> {
    const mine = ++this.refreshes;
    if (this.manifest === undefined) return;
    const need = new Set<string>();
    if (this.colour.startsWith("=")) need.add(this.colour.slice(1));
    for (const key of this.hidden.keys()) if (key.startsWith("=")) need.add(key.slice(1));
    for (const name of this.filters.keys()) need.add(name);
    if (this.onlyWrong) for (const role of ["label", "prediction"] as const) need.add(this.role(role)!.name);
    const wanted: Promise<unknown>[] = [];
    const tables = new Map<number, number>();
    for (const dataset of this.points.keys()) {
      const table = this.currentTable(dataset);
      if (table === undefined) continue;
      tables.set(dataset, table);
      for (const name of need) if (this.valuesNow(name, table) === undefined) wanted.push(this.values(name, table));
    }
    if (wanted.length > 0) {
      const bad = (await Promise.allSettled(wanted)).find((result) => result.status === "rejected");
      if (mine !== this.refreshes) return;
      if (bad !== undefined) this.fail((bad as PromiseRejectedResult).reason);
    }
    this.makeScale(tables);
    let colours = false, masks = false;
    for (const [dataset, points] of this.points) {
      const table = tables.get(dataset);
      const codesKey = `${this.colour} ${table} ${this.scaleVersion}`;
      if (points.codesKey !== codesKey) {
        points.codesKey = codesKey;
        this.makeCodes(points, table);
        points.codesVersion++;
        colours = true;
      }
      const maskKey = this.filtered ? `${this.filterVersion} ${table}` : "all";
      if (points.maskKey !== maskKey) {
        points.maskKey = maskKey;
        this.makeMask(points, table);
        this.count(points);
        masks = true;
      }
    }
    if (colours) this.emit("colour");
    if (masks) {
      this.emit("mask");
      if (this.hasSelection) this.emit("selection");
    }
  }

  private codesOfText(name: string, values: Column): { codes: Map<string, number>; names: string[] } {
    let known = this.textCodes.get(name);
    if (known === undefined) this.textCodes.set(name, known = { codes: new Map(), names: [] });
    for (const text of values.texts!) {
      if (text === null || known.codes.has(text) || known.names.length >= 65_000) continue;
      known.names.push(text);
      known.codes.set(text, known.names.length);
    }
    return known;
  }

  private makeScale(tables: Map<number, number>): void {
    const none = { column: null, lo: 0, hi: 1, diverging: false };
    const build = (): Scale => {
      if (this.colour === DATASET_COLOUR) {
        const names = this.manifest.datasets.map((d) => d.name);
        return { ...none, kind: "category", title: "dataset", colours: [NO_VALUE, ...categorical(names.length)], name: (c) => names[c - 1] ?? "no value" };
      }
      const info = this.colour.startsWith("=") ? this.column(this.colour.slice(1)) : undefined;
      if (info === undefined) return { ...none, kind: "none", title: "one colour", colours: [this.dark ? [110, 168, 254] : [40, 100, 200]], name: () => "" };
      if (info.kind === "boolean") {
        const colours = [[213, 94, 0], [0, 114, 178]] as Rgb[];
        return { ...none, kind: "category", column: info, title: info.name, colours: [NO_VALUE, ...colours], name: (c) => ["no value", "no", "yes"][c] ?? "" };
      }
      if (info.kind === "number") {
        const domain = this.domain(info, tables);
        const signed = domain.lo < 0 && domain.hi > 0;
        const reach = Math.max(-domain.lo, domain.hi);
        const lo = signed ? -reach : domain.lo, hi = signed ? reach : domain.hi;
        const colours = Array.from({ length: RAMP }, (_, i) => (signed ? diverging(i / (RAMP - 1)) : sequential(i / (RAMP - 1), this.dark)));
        return { kind: "number", column: info, title: info.name, colours: [NO_VALUE, ...colours], name: (c) => (c === 0 ? "no value" : ""), lo, hi, diverging: signed };
      }
      if (info.kind === "text") {
        for (const table of tables.values()) { const v = this.valuesNow(info.name, table); if (v?.texts) this.codesOfText(info.name, v); }
        const names = this.textCodes.get(info.name)?.names ?? [];
        return { ...none, kind: "category", column: info, title: info.name, colours: [NO_VALUE, ...categorical(names.length)], name: (c) => (c === 0 ? "no value" : names[c - 1] ?? "") };
      }
      let classes = info.classes?.length ?? 0;
      if (info.classes === null) for (const table of tables.values()) for (const v of this.valuesNow(info.name, table)?.ints ?? []) if (v >= classes) classes = v + 1;
      classes = Math.min(65_534, classes);
      return { ...none, kind: "category", column: info, title: info.name, colours: [NO_VALUE, ...categorical(classes)], name: (c) => className(info.classes, c - 1) };
    };
    this.scale = build();
  }

  /** The colour range: all epochs' range, but without the far tails of the values at hand, and then kept, so that colours stay comparable in time. */
  private domain(info: ColumnInfo, tables: Map<number, number>): Range {
    const known = this.domains.get(info.name);
    if (known !== undefined) return known;
    const sample: number[] = [];
    for (const table of tables.values()) {
      const floats = this.valuesNow(info.name, table)?.floats;
      if (!floats) continue;
      const stride = Math.max(1, Math.floor(floats.length / 20_000));
      for (let i = 0; i < floats.length; i += stride) if (Number.isFinite(floats[i])) sample.push(floats[i]!);
    }
    if (sample.length === 0) return { lo: info.min ?? 0, hi: info.max ?? 1 };
    sample.sort((a, b) => a - b);
    const at = (q: number) => sample[Math.min(sample.length - 1, Math.floor(q * sample.length))]!;
    const lo = at(0.01), hi = at(0.99);
    const all = { lo: info.min ?? sample[0]!, hi: info.max ?? sample[sample.length - 1]! };
    // If the tails are short, the whole range is easier to read.
    const range = !this.tight && hi - lo > 0.5 * (all.hi - all.lo) ? all : { lo, hi: hi > lo ? hi : lo + 1 };
    this.domains.set(info.name, range);
    return range;
  }

  private makeCodes(points: Points, table: number | undefined): void {
    const { codes } = points;
    if (this.colour === DATASET_COLOUR) { codes.fill(this.manifest.datasets.indexOf(points.info) + 1); return; }
    if (this.scale.kind === "none") { codes.fill(0); return; }
    const info = this.scale.column!;
    const values = table === undefined ? undefined : this.valuesNow(info.name, table);
    if (values === undefined) { codes.fill(0); return; }
    this.codesInto(codes, info, values);
  }

  private codesInto(codes: Uint16Array, info: ColumnInfo, values: Column): void {
    const n = Math.min(codes.length, values.n);
    if (values.floats !== null) {
      const { lo, hi } = this.scale;
      const k = (RAMP - 1) / (hi - lo || 1);
      for (let i = 0; i < n; i++) {
        const v = values.floats[i]!;
        codes[i] = v !== v ? 0 : 1 + Math.round(Math.min(RAMP - 1, Math.max(0, (v - lo) * k)));
      }
    } else if (values.texts !== null) {
      const known = this.codesOfText(info.name, values).codes;
      for (let i = 0; i < n; i++) { const t = values.texts[i]!; codes[i] = t === null ? 0 : known.get(t) ?? 0; }
    } else {
      for (let i = 0; i < n; i++) codes[i] = Math.min(65_534, Math.max(-1, values.ints![i]!)) + 1;
    }
  }

  private makeMask(points: Points, table: number | undefined): void {
    const { mask } = points;
    mask.fill(1);
    if (!this.filtered) return;
    for (const [key, hidden] of this.hidden) {
      if (key === DATASET_COLOUR) {
        if (hidden.has(this.manifest.datasets.indexOf(points.info) + 1)) mask.fill(0);
        continue;
      }
      const info = this.column(key.slice(1));
      const values = table === undefined || info === undefined ? undefined : this.valuesNow(info.name, table);
      if (values === undefined) continue;
      if (values.texts !== null) {
        const known = this.codesOfText(info!.name, values).codes;
        for (let i = 0; i < values.n; i++) { const t = values.texts[i]!; if (hidden.has(t === null ? 0 : known.get(t) ?? 0)) mask[i] = 0; }
      } else if (values.ints !== null) {
        let most = 0;
        for (const code of hidden) most = Math.max(most, code);
        const off = new Uint8Array(most + 1);
        for (const code of hidden) off[code] = 1;
        const ints = values.ints;
        for (let i = 0; i < ints.length; i++) if (off[ints[i]! + 1] === 1) mask[i] = 0;
      }
    }
    for (const [name, range] of this.filters) {
      const values = table === undefined ? undefined : this.valuesNow(name, table);
      const data = values?.floats ?? values?.ints;
      if (!data) continue;
      const { lo, hi } = range;
      for (let i = 0; i < data.length; i++) { const v = data[i]!; if (!(v >= lo && v <= hi)) mask[i] = 0; }
    }
    if (this.onlyWrong && table !== undefined) {
      const a = this.valuesNow(this.role("label")!.name, table)?.ints;
      const b = this.valuesNow(this.role("prediction")!.name, table)?.ints;
      if (a && b) for (let i = 0; i < a.length; i++) if (a[i] === b[i] || a[i]! < 0 || b[i]! < 0) mask[i] = 0;
    }
  }

  private count(points: Points): void {
    const { mask, selected } = points;
    let visible = 0, chosen = 0;
    for (let i = 0; i < mask.length; i++) { visible += mask[i]!; chosen += mask[i]! & selected[i]!; }
    points.visible = visible;
    points.chosen = chosen;
    points.stateVersion++;
  }

  // ---- selection ----

  private history: Map<number, Uint32Array>[] = [];

  /** Keeps the selection as it is for "undo"; ten steps are enough and cost little. */
  private remember(): void {
    const now = new Map<number, Uint32Array>();
    for (const [dataset, { selected }] of this.points) {
      let n = 0;
      for (let i = 0; i < selected.length; i++) n += selected[i]!;
      const slots = new Uint32Array(n);
      for (let i = 0, k = 0; i < selected.length; i++) if (selected[i] === 1) slots[k++] = i;
      now.set(dataset, slots);
    }
    this.history.push(now);
    const size = () => this.history.reduce((sum, entry) => sum + [...entry.values()].reduce((s, slots) => s + slots.length, 0), 0);
    while (this.history.length > 10 || (this.history.length > 1 && size() > 2_000_000)) this.history.shift();
  }

  undoSelection(): void {
    const before = this.history.pop();
    if (before === undefined) { this.tell("Nothing to undo."); return; }
    for (const [dataset, points] of this.points) {
      points.selected.fill(0);
      for (const slot of before.get(dataset) ?? []) points.selected[slot] = 1;
      this.count(points);
    }
    this.selectionChanged();
  }

  /** Marks `hits` (1 = hit) of a dataset. Hidden points never get in. */
  selectHits(hits: Map<number, Uint8Array>, mode: Mode): void {
    this.remember();
    for (const [dataset, points] of this.points) {
      const hit = hits.get(dataset);
      const { selected, mask } = points;
      if (mode === "replace") selected.fill(0);
      if (hit !== undefined) {
        if (mode === "subtract") for (let i = 0; i < hit.length; i++) selected[i]! &= 1 ^ hit[i]!;
        else for (let i = 0; i < hit.length; i++) selected[i]! |= hit[i]! & mask[i]!;
      }
      this.count(points);
    }
    this.selectionChanged();
  }

  selectRefs(refs: Ref[], mode: Mode): void {
    this.remember();
    if (mode === "replace") for (const points of this.points.values()) points.selected.fill(0);
    for (const { dataset, slot } of refs) {
      const selected = this.points.get(dataset)?.selected;
      if (selected !== undefined && slot >= 0 && slot < selected.length) selected[slot] = mode === "subtract" ? 0 : 1;
    }
    for (const points of this.points.values()) this.count(points);
    this.selectionChanged();
  }

  clearSelection(): void { this.selectHits(new Map(), "replace"); }

  selectVisible(): void {
    this.selectHits(new Map(this.shownDatasets().map((d) => [d, this.points.get(d)!.mask])), "replace");
  }

  invertSelection(): void {
    this.remember();
    for (const [dataset, points] of this.points) {
      const shown = this.shownDatasets().includes(dataset);
      for (let i = 0; i < points.mask.length; i++) points.selected[i] = shown ? points.mask[i]! & (1 ^ points.selected[i]!) : 0;
      this.count(points);
    }
    this.selectionChanged();
  }

  private selectionChanged(): void {
    this.hasSelection = [...this.points.values()].some((points) => points.selected.includes(1));
    this.emit("selection");
  }

  get chosenCount(): number { return this.shownDatasets().reduce((sum, d) => sum + this.points.get(d)!.chosen, 0); }
  get visibleCount(): number { return this.shownDatasets().reduce((sum, d) => sum + this.points.get(d)!.visible, 0); }
  get shownCount(): number { return this.shownDatasets().reduce((sum, d) => sum + this.points.get(d)!.info.rows, 0); }

  /** The selection, or everything visible if there is none. */
  rows(onlySelection = false): { dataset: number; slots: Uint32Array }[] {
    const selection = onlySelection || this.chosenCount > 0;
    return this.shownDatasets().map((dataset) => {
      const points = this.points.get(dataset)!;
      const slots = new Uint32Array(selection ? points.chosen : points.visible);
      let k = 0;
      for (let i = 0; i < points.mask.length; i++) if (points.mask[i] === 1 && (!selection || points.selected[i] === 1)) slots[k++] = i;
      return { dataset, slots };
    }).filter((part) => part.slots.length > 0);
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
    this.activeView = Math.min(this.activeView, views.length - 1);
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
    this.emit("tool");
  }

  get memory() { return { coords: this.coordsCache.bytes, columns: this.columnCache.bytes }; }
}

/** Tables with an epoch meet at it; those without one take a step each (in their dataset's order), named by the table. */
function makeSteps(manifest: Manifest): Step[] {
  const used = new Set(manifest.layouts.flatMap((layout) => layout.tables));
  const epochs = new Map<number, number[]>();
  const plain: Step[] = [];
  const nth = new Map<number, number>();
  for (const table of manifest.tables) {
    if (used.size > 0 && !used.has(table.id)) continue;
    if (table.epoch !== null) {
      const list = epochs.get(table.epoch);
      if (list === undefined) epochs.set(table.epoch, [table.id]); else list.push(table.id);
    } else {
      const i = nth.get(table.dataset) ?? 0;
      nth.set(table.dataset, i + 1);
      if (plain[i] === undefined) plain[i] = { label: table.name, epoch: null, tables: [table.id] };
      else plain[i]!.tables.push(table.id);
    }
  }
  const timed = [...epochs].sort((a, b) => a[0] - b[0]).map(([epoch, tables]): Step => ({ label: `Epoch ${epoch}`, epoch, tables }));
  return [...timed, ...plain];
}
