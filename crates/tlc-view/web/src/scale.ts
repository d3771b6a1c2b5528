// From the values of a column to colours: one code per point, and the colour and name of every code.
import type { ColumnInfo, Manifest } from "./api";
import type { Column } from "./arrow";
import { className } from "./format";
import { categorical, diverging, NO_VALUE, sequential, type Rgb } from "./palette";
import type { Points } from "./points";
import type { Store } from "./store";

export interface Range { lo: number; hi: number }

export const NOTHING: Range = { lo: Infinity, hi: -Infinity };
const union = (a: Range, b: Range): Range => ({ lo: Math.min(a.lo, b.lo), hi: Math.max(a.hi, b.hi) });

/** Least and greatest value, and the range between the first and the last hundredth of a sample. */
function spread(values: Float32Array): { all: Range; trimmed: Range } {
  const all = { ...NOTHING };
  for (const v of values) if (Number.isFinite(v)) { if (v < all.lo) all.lo = v; if (v > all.hi) all.hi = v; }
  const stride = Math.max(1, Math.floor(values.length / 20_000));
  const sample: number[] = [];
  for (let i = 0; i < values.length; i += stride) if (Number.isFinite(values[i])) sample.push(values[i]!);
  if (sample.length === 0) return { all, trimmed: all };
  sample.sort((a, b) => a - b);
  const at = (q: number) => sample[Math.min(sample.length - 1, Math.floor(q * sample.length))]!;
  return { all, trimmed: { lo: at(0.01), hi: at(0.99) } };
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

/** Steps of a number ramp. */
export const RAMP = 255;
/** What the page can be coloured by: a column, the dataset, or nothing. */
export const columnKey = (name: string) => `=${name}`;
export const DATASET_COLOUR = "dataset";
export const NO_COLOUR = "none";
/** What a map is coloured by at first: labels if there are any. */
export function firstColour({ columns }: Manifest): string {
  const order = [(c: ColumnInfo) => c.role === "label", (c: ColumnInfo) => c.role === "prediction", ...(["category", "boolean", "number"] as const).map((kind) => (c: ColumnInfo) => c.kind === kind)];
  const column = order.map((wanted) => columns.find(wanted)).find((found) => found !== undefined);
  return column === undefined ? NO_COLOUR : columnKey(column.name);
}

/** Codes are 16 bits wide, and the palette's texture has as many texels. */
export const MOST_CLASSES = 65_534;

export const NO_SCALE: Scale = { kind: "none", column: null, title: "", colours: [NO_VALUE], name: () => "", lo: 0, hi: 1, diverging: false };

export class Scales {
  current: Scale = NO_SCALE;
  /** Fitted to the values of one step rather than to all. */
  tight = false;
  private readonly texts = new Map<string, { codes: Map<string, number>; names: string[] }>();
  private readonly domains = new Map<string, { of: WeakSet<Column>; all: Range; trimmed: Range }>();

  constructor(private readonly store: Store) {}

  /** Fits the number ramp to the values of the step shown, or gives it the whole range again. */
  refit(tight: boolean): void {
    this.tight = tight;
    this.domains.clear();
  }

  codesOfText(name: string, values: Column): Map<string, number> {
    let known = this.texts.get(name);
    if (known === undefined) this.texts.set(name, known = { codes: new Map(), names: [] });
    for (const text of values.texts!) {
      if (text === null || known.codes.has(text) || known.names.length >= MOST_CLASSES) continue;
      known.names.push(text);
      known.codes.set(text, known.names.length);
    }
    return known.codes;
  }

  /** Names of the codes 1, 2, … of a column with classes; truth values and class numbers are themselves. */
  namesOf(info: ColumnInfo): (string | number | boolean)[] {
    if (info.kind === "boolean") return [false, true];
    if (info.kind === "text") return this.texts.get(info.name)?.names ?? [];
    return info.classes ?? Array.from({ length: this.current.colours.length - 1 }, (_, i) => i);
  }

  /** The scale of the colour chosen; `tables` are those shown, by dataset. */
  make(tables: Map<number, number>): void { this.current = this.scaleOf(this.store.colour, tables); }

  private scaleOf(key: string, tables: Map<number, number>): Scale {
    const { store } = this;
    const category = (title: string, column: ColumnInfo | null, classes: number, name: (code: number) => string, colours = categorical(classes)): Scale =>
      ({ ...NO_SCALE, kind: "category", title, column, colours: [NO_VALUE, ...colours], name: (code) => (code === 0 ? "no value" : name(code)) });
    if (key === DATASET_COLOUR) {
      const names = store.manifest.datasets.map((d) => d.name);
      return category("dataset", null, names.length, (code) => names[code - 1] ?? "");
    }
    const info = key.startsWith("=") ? store.column(key.slice(1)) : undefined;
    if (info === undefined) return { ...NO_SCALE, title: "one colour", colours: [store.dark ? [110, 168, 254] : [40, 100, 200]] };
    const columns = [...tables.values()].map((table) => store.data.valuesNow(info.name, table)).filter((values) => values !== undefined);
    switch (info.kind) {
      case "boolean":
        return category(info.name, info, 2, (code) => (code === 1 ? "no" : "yes"), [[213, 94, 0], [0, 114, 178]]);
      case "number":
        return this.ramp(info, columns);
      case "text": {
        for (const values of columns) if (values.texts !== null) this.codesOfText(info.name, values);
        const names = this.texts.get(info.name)?.names ?? [];
        return category(info.name, info, names.length, (code) => names[code - 1]?.trim() || "(empty)");
      }
      case "category": {
        let classes = info.classes?.length ?? 0;
        if (info.classes === null) for (const { ints } of columns) for (const v of ints ?? []) if (v >= classes) classes = v + 1;
        return category(info.name, info, Math.min(MOST_CLASSES, classes), (code) => className(info.classes, code - 1));
      }
    }
  }

  private ramp(info: ColumnInfo, columns: Column[]): Scale {
    const domain = this.domain(info, columns);
    // Numbers on both sides of nought get a colour for each side.
    const signed = domain.lo < 0 && domain.hi > 0;
    const reach = Math.max(-domain.lo, domain.hi);
    const colours = Array.from({ length: RAMP }, (_, i) => (signed ? diverging(i / (RAMP - 1)) : sequential(i / (RAMP - 1), this.store.dark)));
    return {
      kind: "number", column: info, title: info.name, colours: [NO_VALUE, ...colours], name: (code) => (code === 0 ? "no value" : ""),
      lo: signed ? -reach : domain.lo, hi: signed ? reach : domain.hi, diverging: signed,
    };
  }

  /**
   * The colour range, one for all epochs so that colours stay comparable in time. It is that of all tables once it is known, or else
   * of the epochs that are here, and grows as more come; without the far tails unless those are short. Tight: of the step shown alone.
   */
  private domain(info: ColumnInfo, shown: Column[]): Range {
    let known = this.domains.get(info.name);
    const columns = !this.tight ? this.loaded(info.name) : known === undefined ? shown : [];
    if (known === undefined) this.domains.set(info.name, known = { of: new WeakSet(), all: NOTHING, trimmed: NOTHING });
    for (const column of columns) {
      if (column.floats === null || known.of.has(column)) continue;
      known.of.add(column);
      const { all, trimmed } = spread(column.floats);
      known.all = union(known.all, all);
      known.trimmed = union(known.trimmed, trimmed);
    }
    const { lo, hi } = known.trimmed;
    const whole = this.store.ranges.get(info.name);
    if (lo > hi) return whole ?? { lo: 0, hi: 1 };
    const all = whole ?? known.all;
    return !this.tight && hi - lo > 0.5 * (all.hi - all.lo) ? all : { lo, hi: hi > lo ? hi : lo + 1 };
  }

  /** A column's values in every table that has been fetched. */
  private loaded(name: string): Column[] {
    const { data, manifest } = this.store;
    return manifest.tables.map((table) => data.valuesNow(name, table.id)).filter((values) => values !== undefined);
  }

  /** Writes the code of every point of a dataset. */
  codesInto(points: Points, table: number | undefined): void {
    const { store, current } = this;
    const { codes } = points;
    if (store.colour === DATASET_COLOUR) { codes.fill(store.manifest.datasets.indexOf(points.info) + 1); return; }
    const info = current.column;
    const values = table === undefined || info === null ? undefined : store.data.valuesNow(info.name, table);
    if (values === undefined || info === null) { codes.fill(0); return; }
    const n = Math.min(codes.length, values.n);
    if (values.floats !== null) {
      const k = (RAMP - 1) / (current.hi - current.lo || 1);
      for (let i = 0; i < n; i++) {
        const v = values.floats[i]!;
        codes[i] = v !== v ? 0 : 1 + Math.round(Math.min(RAMP - 1, Math.max(0, (v - current.lo) * k)));
      }
    } else if (values.texts !== null) {
      const known = this.codesOfText(info.name, values);
      for (let i = 0; i < n; i++) { const t = values.texts[i]!; codes[i] = t === null ? 0 : known.get(t) ?? 0; }
    } else {
      for (let i = 0; i < n; i++) codes[i] = Math.min(MOST_CLASSES, Math.max(-1, values.ints![i]!)) + 1;
    }
  }
}
