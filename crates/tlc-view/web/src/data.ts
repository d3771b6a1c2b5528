// Data of the run as they are fetched: coordinates, columns and ids, kept within a limit of bytes, each asked for once.
import { ApiError, StaleError, type ColumnInfo, type Layout, type Manifest, type Source, type TableInfo } from "./api";
import { readColumn, readCoords, readIds, type Column, type Coords } from "./arrow";
import { className, number } from "./format";

/** Least recently used things go first when there are too many bytes. What is held stays, and does not count: whoever shows it
 *  would only ask for it again. */
export class Cache<T> {
  private readonly map = new Map<string, { value: T; bytes: number }>();
  private held: ReadonlySet<string> = new Set();
  private total = 0;
  constructor(public limit: number) {}

  get(key: string): T | undefined {
    const entry = this.map.get(key);
    if (entry === undefined) return undefined;
    this.map.delete(key);
    this.map.set(key, entry);
    return entry.value;
  }

  set(key: string, value: T, bytes: number): void {
    this.total += bytes - (this.map.get(key)?.bytes ?? 0);
    this.map.delete(key);
    this.map.set(key, { value, bytes });
    this.trim(key);
  }

  /** These are shown from now on, whether they are here already or not; what was held before may go. */
  hold(keys: ReadonlySet<string>): void {
    this.held = keys;
    this.trim(null);
  }

  private trim(newest: string | null): void {
    let others = this.total;
    for (const key of this.held) others -= this.map.get(key)?.bytes ?? 0;
    for (const [old, entry] of this.map) {
      if (others <= this.limit || old === newest) break;
      if (this.held.has(old)) continue;
      this.map.delete(old);
      this.total -= entry.bytes;
      others -= entry.bytes;
    }
  }

  /** Forgets all but these. */
  retain(keys: Set<string>): void {
    for (const [key, { bytes }] of this.map) if (!keys.has(key)) { this.map.delete(key); this.total -= bytes; }
  }

  get bytes() { return this.total; }
}

/** What the cache must know of the manifest. */
export interface Catalog {
  column(name: string): ColumnInfo | undefined;
  table(id: number): TableInfo | undefined;
  /** What a dataset is, whatever its number: its name and how many rows it has, so that slots mean the same. */
  datasetKey(id: number): string;
  readonly manifest: Manifest;
  readonly layouts: ReadonlyMap<number, Layout>;
}

export class Data {
  private readonly coordsCache = new Cache<Coords>(72 << 20);
  private readonly columnCache = new Cache<Column>(48 << 20);
  private readonly loading = new Map<string, Promise<unknown>>();
  private readonly failed = new Map<string, ApiError>();
  private readonly ids = new Map<string, { ids: Float64Array; identity: boolean; order: Uint32Array | null }>();

  constructor(private readonly source: Source, private readonly catalog: Catalog, private readonly coordsCame: () => void) {}

  /** Forgets failures, so that the next use asks again. */
  retry(): void { this.failed.clear(); }

  /** After a newer manifest: forgets what belongs to nothing in it. */
  retain(): void {
    const { manifest } = this.catalog;
    this.coordsCache.retain(new Set(manifest.layouts.flatMap(({ id, tables }) => tables.map((table) => this.coordsKey(id, table)))));
    this.columnCache.retain(new Set(manifest.columns.flatMap(({ name }) => manifest.tables.map((table) => this.columnKey(name, table.id)))));
    const datasets = new Set(manifest.datasets.map(({ id }) => this.catalog.datasetKey(id)));
    for (const key of this.ids.keys()) if (!datasets.has(key)) this.ids.delete(key);
  }

  /** Places of the picture, and columns of its colours and filters: those of a moment are all needed at once. */
  holdCoords(parts: { layout: number; table: number }[]): void { this.coordsCache.hold(new Set(parts.map(({ layout, table }) => this.coordsKey(layout, table)))); }
  holdColumns(parts: { name: string; table: number }[]): void { this.columnCache.hold(new Set(parts.map(({ name, table }) => this.columnKey(name, table)))); }

  /** Bytes of columns that stay beside those held. Who shows more than that takes one after the other, and keeps what it made of it. */
  get columnRoom(): number { return this.columnCache.limit; }
  set columnRoom(bytes: number) { this.columnCache.limit = bytes; this.columnCache.hold(new Set()); }

  get memory() { return { coords: this.coordsCache.bytes, columns: this.columnCache.bytes }; }

  private once<T>(key: string, run: () => Promise<T>): Promise<T> {
    const running = this.loading.get(key) as Promise<T> | undefined;
    if (running !== undefined) return running;
    const failed = this.failed.get(key);
    if (failed !== undefined) return Promise.reject(failed);
    const promise = run().catch((error: unknown) => {
      if (error instanceof ApiError && !(error instanceof StaleError)) this.failed.set(key, error);
      throw error;
    }).finally(() => this.loading.delete(key));
    this.loading.set(key, promise);
    return promise;
  }

  /** A newer manifest may give other numbers to the same tables, other slots to their rows, and another box to their places. */
  private coordsKey(layout: number, table: number): string {
    const { name, min, max } = this.catalog.layouts.get(layout) ?? {};
    return `${name} ${min} ${max} ${this.tableKey(table)}`;
  }

  private tableKey(table: number): string {
    const { dataset = -1, urls = [] } = this.catalog.table(table) ?? {};
    return `${urls.join()} ${this.catalog.datasetKey(dataset)}`;
  }

  coordsNow(layout: number, table: number): Coords | undefined { return this.coordsCache.get(this.coordsKey(layout, table)); }

  coords(layout: number, table: number): Promise<Coords> {
    const now = this.coordsNow(layout, table);
    if (now !== undefined) return Promise.resolve(now);
    const key = this.coordsKey(layout, table);
    return this.once(`coords ${key}`, async () => {
      const coords = readCoords(await this.source.coords(layout, table));
      this.coordsCache.set(key, coords, coords.xyzw.byteLength);
      this.coordsCame();
      return coords;
    });
  }

  /** Columns of a dataset are the same for all its tables, so they are kept once. */
  private columnKey(name: string, table: number): string {
    const info = this.catalog.column(name);
    return `${name} ${info?.kind} ${info?.per === "dataset" ? this.catalog.datasetKey(this.catalog.table(table)?.dataset ?? -1) : this.tableKey(table)}`;
  }

  valuesNow(name: string, table: number): Column | undefined { return this.columnCache.get(this.columnKey(name, table)); }

  values(name: string, table: number): Promise<Column> {
    const now = this.valuesNow(name, table);
    if (now !== undefined) return Promise.resolve(now);
    const info = this.catalog.column(name);
    if (info === undefined) return Promise.reject(new ApiError(`There is no column “${name}”.`, "Choose another colour or filter.", 404));
    const key = this.columnKey(name, table);
    return this.once(`column ${key}`, async () => {
      const values = readColumn(await this.source.column(name, table), info.kind);
      this.columnCache.set(key, values, values.bytes);
      return values;
    });
  }

  async loadIds(dataset: number): Promise<Float64Array> {
    const key = this.catalog.datasetKey(dataset);
    const known = this.ids.get(key);
    if (known !== undefined) return known.ids;
    return this.once(`ids ${key}`, async () => {
      const ids = readIds(await this.source.ids(dataset));
      let identity = true;
      for (let i = 0; i < ids.length && identity; i++) identity = ids[i] === i;
      this.ids.set(key, { ids, identity, order: null });
      return ids;
    });
  }

  idOf(dataset: number, slot: number): number | undefined { return this.ids.get(this.catalog.datasetKey(dataset))?.ids[slot]; }

  /** Binary search over a sorted permutation: a Map of a million ids would cost 60 MB. */
  slotOf(dataset: number, id: number): number {
    const known = this.ids.get(this.catalog.datasetKey(dataset));
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
}

/** Text of one value, for cards and tables. */
export function showValue(info: ColumnInfo, values: Column | undefined, slot: number): string {
  if (values === undefined) return "…";
  if (values.floats !== null) {
    // One way of writing per column: “1.000” among fractions, “1” among counts.
    values.whole ??= values.floats.subarray(0, 500).every((v) => v !== v || Number.isInteger(v));
    const v = values.floats[slot]!;
    return !values.whole && Number.isInteger(v) && Math.abs(v) < 1000 ? v.toFixed(3) : number(v);
  }
  if (values.texts !== null) return values.texts[slot] ?? "–";
  const v = values.ints![slot]!;
  if (v < 0) return "–";
  return info.kind === "boolean" ? (v === 1 ? "yes" : "no") : className(info.classes, v);
}
