// Boxes around points, in world units: what "fit" and "focus" aim at, and where class labels sit.
import type { Store } from "../store";
import { layoutBox } from "./camera";
import { momentOf, position } from "./project";

export interface Bounds { centre: number[]; size: number[] }

/** Box around what is visible (or selected) now. With many points a thousandth at each end may stay outside if that more than halves the box. */
export function bounds(store: Store, view: number, onlySelected: boolean): Bounds | null {
  const layout = store.layoutOf(view);
  if (layout === undefined) return null;
  const bins = [0, 1, 2].map(() => new Uint32Array(1024));
  const lo = [65535, 65535, 65535], hi = [0, 0, 0];
  let n = 0;
  for (const dataset of store.datasetsOf(view)) {
    const table = store.tableAt(layout.id, dataset, store.step);
    const coords = table === undefined ? undefined : store.data.coordsNow(layout.id, table);
    if (coords === undefined) continue;
    const { mask, selected } = store.points.get(dataset)!;
    const { xyzw } = coords;
    for (let i = 0, j = 0; i < coords.n; i++, j += 4) {
      if (xyzw[j + 3] === 0 || mask[i] === 0 || (onlySelected && selected[i] === 0)) continue;
      n++;
      for (let c = 0; c < layout.dims; c++) {
        const v = xyzw[j + c]!;
        if (v < lo[c]!) lo[c] = v;
        if (v > hi[c]!) hi[c] = v;
        bins[c]![v >> 6]!++;
      }
    }
  }
  if (n === 0) return null;
  const box = layoutBox(layout.min, layout.max, layout.dims);
  const centre = [0, 0, 0], size = [0, 0, 0];
  for (let c = 0; c < layout.dims; c++) {
    let a = lo[c]!, b = hi[c]!;
    if (n > 500) {
      const cut = n / 1000;
      let p = 0, q = 1023;
      for (let sum = 0; p < 1023 && (sum += bins[c]![p]!) < cut;) p++;
      for (let sum = 0; q > 0 && (sum += bins[c]![q]!) < cut;) q--;
      if ((q - p + 1) * 64 < 0.5 * (b - a)) { a = Math.max(a, p * 64 - 640); b = Math.min(b, (q + 1) * 64 + 640); }
    }
    centre[c] = ((a + b) / 2 / 65535) * box.scale[c]! + box.shift[c]!;
    size[c] = Math.max(onlySelected ? 0.02 : 0.01, ((b - a) / 2 / 65535) * box.scale[c]!);
  }
  return { centre, size };
}

export interface Label { text: string; code: number; at: [number, number, number] }

interface Kept { key: string; groups: { code: number; slots: number[] }[]; dataset: number; momentKey: string; labels: Label[] }

/** Names of classes at the median of their points (of a sample, as a median of 150 is near enough). Nothing beyond 40 classes. */
export class Labels {
  private readonly kept = new Map<number, Kept>();
  constructor(private readonly store: Store) {}

  get(view: number): Label[] {
    const { store } = this;
    const layout = store.layoutOf(view);
    const classes = store.scale.colours.length - 1;
    if (layout === undefined || !store.labels || store.scale.kind !== "category" || store.colour === "dataset" || classes > 40) return [];
    const datasets = store.datasetsOf(view);
    const key = datasets.map((d) => { const p = store.points.get(d)!; return `${d}.${p.codesVersion}.${p.maskKey}`; }).join();
    let kept = this.kept.get(view);
    if (kept?.key !== key) this.kept.set(view, kept = this.group(key, datasets, classes));
    const moment = momentOf(store, layout.id, kept.dataset);
    if (moment === undefined) return [];
    const a = store.data.coordsNow(layout.id, moment.from), b = store.data.coordsNow(layout.id, moment.to);
    if (a === undefined || b === undefined) return [];
    const momentKey = `${layout.id} ${moment.from} ${moment.to} ${moment.t}`;
    if (kept.momentKey === momentKey) return kept.labels;
    kept.momentKey = momentKey;
    kept.labels = [];
    for (const { code, slots } of kept.groups) {
      const found = slots.map((slot) => position(a, b, moment.t, slot)).filter((p) => p !== null);
      if (found.length === 0) continue;
      const median = (c: number) => Float64Array.from(found, (p) => p[c]!).sort()[found.length >> 1]!;
      kept.labels.push({ text: store.scale.name(code), code, at: [median(0), median(1), median(2)] });
    }
    return kept.labels;
  }

  private group(key: string, datasets: number[], classes: number): Kept {
    const { store } = this;
    // The largest dataset says where a class is; validation data lie on the same places as a rule.
    const dataset = datasets.reduce((best, d) => (store.points.get(d)!.info.rows > (store.points.get(best)?.info.rows ?? -1) ? d : best), datasets[0] ?? -1);
    const groups: Kept["groups"] = [];
    const points = store.points.get(dataset);
    if (points !== undefined) {
      const lists = Array.from({ length: classes + 1 }, (): number[] => []);
      for (let i = 0; i < points.mask.length; i++) if (points.mask[i] === 1) lists[points.codes[i]!]?.push(i);
      lists.forEach((all, code) => {
        if (code === 0 || all.length < 3) return;
        const stride = Math.max(1, Math.floor(all.length / 150));
        groups.push({ code, slots: all.filter((_, i) => i % stride === 0) });
      });
    }
    return { key, groups, dataset, momentKey: "", labels: [] };
  }
}
