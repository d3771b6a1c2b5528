// What is selected, the same in all maps and panels, with undo. A lasso never takes hidden points; rows of a list may be hidden,
// and count once they are not.
import { recount, type Points, type Ref } from "./points";
import type { Store } from "./store";

export type Mode = "replace" | "add" | "subtract";
export const MODES: readonly Mode[] = ["replace", "add", "subtract"];

const MOST_UNDO = 10, MOST_UNDO_SLOTS = 2_000_000;

export class Selection {
  /** Is anything selected, visible or not? */
  any = false;
  private readonly history: Map<number, Uint32Array>[] = [];

  constructor(private readonly store: Store) {}

  /** Keeps the selection as it is for "undo"; ten steps are enough and cost little. */
  private remember(): void {
    const now = new Map<number, Uint32Array>();
    for (const [dataset, { selected }] of this.store.points) now.set(dataset, slotsOf(selected));
    this.history.push(now);
    const size = () => this.history.reduce((sum, entry) => sum + [...entry.values()].reduce((s, slots) => s + slots.length, 0), 0);
    while (this.history.length > MOST_UNDO || (this.history.length > 1 && size() > MOST_UNDO_SLOTS)) this.history.shift();
  }

  undo(): void {
    const before = this.history.pop();
    if (before === undefined) { this.store.tell("Nothing to undo."); return; }
    this.change((points) => {
      points.selected.fill(0);
      for (const slot of before.get(points.info.id) ?? []) points.selected[slot] = 1;
    });
  }

  /** Datasets have got other rows: what was selected in them is gone. */
  rebase(): void {
    this.history.length = 0;
    this.any = [...this.store.points.values()].some((points) => points.selected.includes(1));
  }

  private change(run: (points: Points) => void): void {
    let any = false;
    for (const points of this.store.points.values()) {
      run(points);
      recount(points);
      any ||= points.selected.includes(1);
    }
    this.any = any;
    this.store.emit("selection");
  }

  /** Marks `hits` (1 = hit) of each dataset. */
  hits(hits: Map<number, Uint8Array>, mode: Mode): void {
    this.remember();
    this.change(({ info, selected, mask }) => {
      const hit = hits.get(info.id);
      if (mode === "replace") selected.fill(0);
      if (hit === undefined) return;
      if (mode === "subtract") for (let i = 0; i < hit.length; i++) selected[i]! &= 1 ^ hit[i]!;
      else for (let i = 0; i < hit.length; i++) selected[i]! |= hit[i]! & mask[i]!;
    });
  }

  refs(refs: Ref[], mode: Mode): void {
    this.remember();
    if (mode === "replace") for (const points of this.store.points.values()) points.selected.fill(0);
    for (const { dataset, slot } of refs) {
      const selected = this.store.points.get(dataset)?.selected;
      if (selected !== undefined && slot >= 0 && slot < selected.length) selected[slot] = mode === "subtract" ? 0 : 1;
    }
    this.change(() => undefined);
  }

  clear(): void { this.hits(new Map(), "replace"); }

  /** All that pass the filters. */
  all(): void { this.hits(new Map(this.store.shownDatasets().map((d) => [d, this.store.points.get(d)!.mask])), "replace"); }

  invert(): void {
    this.remember();
    const shown = this.store.shownDatasets();
    this.change(({ info, mask, selected }) => {
      const here = shown.includes(info.id);
      for (let i = 0; i < mask.length; i++) selected[i] = here ? mask[i]! & (1 ^ selected[i]!) : 0;
    });
  }

  private sum(of: (points: Points) => number): number { return this.store.shownDatasets().reduce((sum, d) => sum + of(this.store.points.get(d)!), 0); }

  /** Selected and visible, visible, and all points of the datasets shown. */
  get chosen(): number { return this.sum((points) => points.chosen); }
  get visible(): number { return this.sum((points) => points.visible); }
  get shown(): number { return this.sum((points) => points.info.rows); }

  /** The selection, or everything visible if there is none. */
  rows(onlySelection = false): { dataset: number; slots: Uint32Array }[] {
    const selection = onlySelection || this.chosen > 0;
    return this.store.shownDatasets().map((dataset) => {
      const { mask, selected, chosen, visible } = this.store.points.get(dataset)!;
      const slots = new Uint32Array(selection ? chosen : visible);
      let k = 0;
      for (let i = 0; i < mask.length; i++) if (mask[i] === 1 && (!selection || selected[i] === 1)) slots[k++] = i;
      return { dataset, slots };
    }).filter((part) => part.slots.length > 0);
  }
}

function slotsOf(selected: Uint8Array): Uint32Array {
  let n = 0;
  for (let i = 0; i < selected.length; i++) n += selected[i]!;
  const slots = new Uint32Array(n);
  for (let i = 0, k = 0; i < selected.length; i++) if (selected[i] === 1) slots[k++] = i;
  return slots;
}
