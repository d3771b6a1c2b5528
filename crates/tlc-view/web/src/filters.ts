// What is visible: hidden classes, ranges of numbers, only misclassified.
import type { Points } from "./points";
import { DATASET_COLOUR, MOST_CLASSES, type Range } from "./scale";
import type { Store } from "./store";

export class Filters {
  /** Hidden codes by what they are codes of: a column's key, or the dataset. */
  readonly hidden = new Map<string, Set<number>>();
  readonly ranges = new Map<string, Range>();
  onlyWrong = false;
  version = 0;

  constructor(private readonly store: Store) {}

  get active(): boolean { return this.hidden.size > 0 || this.ranges.size > 0 || this.onlyWrong; }

  get canCompare(): boolean { return this.store.role("label") !== undefined && this.store.role("prediction") !== undefined; }

  setHidden(key: string, codes: Set<number> | null): void {
    if (codes === null || codes.size === 0) this.hidden.delete(key);
    else this.hidden.set(key, codes);
    this.changed();
  }

  setRange(column: string, range: Range | null): void {
    if (range === null) this.ranges.delete(column);
    else this.ranges.set(column, range);
    this.changed();
  }

  setOnlyWrong(on: boolean): void {
    this.onlyWrong = on && this.canCompare;
    this.changed();
  }

  clear(): void {
    this.hidden.clear();
    this.ranges.clear();
    this.onlyWrong = false;
    this.changed();
  }

  /** The greatest code that a class can have which is hidden under this key; -1 if nothing can be hidden under it, or if its codes
   *  mean something to this page alone: texts are numbered as they come. */
  mostCode(key: string): number {
    if (key === DATASET_COLOUR) return this.store.manifest.datasets.length;
    const info = key.startsWith("=") ? this.store.column(key.slice(1)) : undefined;
    if (info === undefined || info.kind === "number" || info.kind === "text") return -1;
    return info.kind === "boolean" ? 2 : info.classes?.length ?? MOST_CLASSES;
  }

  /** Takes the place of all filters at once; `refresh` is the caller's. */
  restore(hidden: Map<string, Set<number>>, ranges: Map<string, Range>, onlyWrong: boolean): void {
    this.hidden.clear();
    this.ranges.clear();
    for (const [key, codes] of hidden) this.hidden.set(key, codes);
    for (const [name, range] of ranges) this.ranges.set(name, range);
    this.onlyWrong = onlyWrong && this.canCompare;
    this.version++;
  }

  /** Datasets have other numbers: each hidden one is found again by its name. */
  renumber(before: string[], now: string[]): void {
    const hidden = this.hidden.get(DATASET_COLOUR);
    if (hidden === undefined) return;
    const codes = [...hidden].map((code) => now.indexOf(before[code - 1] ?? "") + 1).filter((code) => code > 0);
    if (codes.length === 0) this.hidden.delete(DATASET_COLOUR); else this.hidden.set(DATASET_COLOUR, new Set(codes));
  }

  private changed(): void {
    this.version++;
    void this.store.refresh();
  }

  /** Columns whose values the filters need. */
  columns(): string[] {
    const roles = this.onlyWrong ? [this.store.role("label")!.name, this.store.role("prediction")!.name] : [];
    return [...[...this.hidden.keys()].filter((key) => key.startsWith("=")).map((key) => key.slice(1)), ...this.ranges.keys(), ...roles];
  }

  /** Writes 1 for every point of a dataset that passes. */
  maskInto(points: Points, table: number | undefined): void {
    const { mask } = points;
    mask.fill(1);
    for (const [key, hidden] of this.hidden) this.hide(points, table, key, hidden);
    if (table === undefined) return;
    for (const [name, { lo, hi }] of this.ranges) {
      const values = this.store.data.valuesNow(name, table);
      const data = values?.floats ?? values?.ints;
      if (!data) continue;
      for (let i = 0; i < data.length; i++) { const v = data[i]!; if (!(v >= lo && v <= hi)) mask[i] = 0; }
    }
    if (this.onlyWrong) {
      const a = this.store.data.valuesNow(this.store.role("label")!.name, table)?.ints;
      const b = this.store.data.valuesNow(this.store.role("prediction")!.name, table)?.ints;
      if (a && b) for (let i = 0; i < a.length; i++) if (a[i] === b[i] || a[i]! < 0 || b[i]! < 0) mask[i] = 0;
    }
  }

  private hide({ info, mask }: Points, table: number | undefined, key: string, hidden: Set<number>): void {
    const { store } = this;
    if (key === DATASET_COLOUR) {
      if (hidden.has(store.manifest.datasets.indexOf(info) + 1)) mask.fill(0);
      return;
    }
    const name = key.slice(1);
    const values = table === undefined || store.column(name) === undefined ? undefined : store.data.valuesNow(name, table);
    if (values === undefined) return;
    if (values.texts !== null) {
      const known = store.scales.codesOfText(name, values);
      for (let i = 0; i < values.n; i++) { const t = values.texts[i]!; if (hidden.has(t === null ? 0 : known.get(t) ?? 0)) mask[i] = 0; }
    } else if (values.ints !== null) {
      let most = 0;
      for (const code of hidden) most = Math.max(most, code);
      const off = new Uint8Array(most + 1);
      for (const code of hidden) off[code] = 1;
      const { ints } = values;
      for (let i = 0; i < ints.length; i++) if (off[ints[i]! + 1] === 1) mask[i] = 0;
    }
  }
}
