// The same positions as on the GPU, computed on the CPU: for picking, lassos, fitting and labels.
import type { Coords } from "../arrow";
import type { Store } from "../store";
import { layoutBox, matrix, type Rect } from "./camera";

export const ease = (t: number) => t * t * (3 - 2 * t);

/** The two tables between which a dataset moves, and how far it is (eased). */
export interface Moment { from: number; to: number; t: number }

export function momentOf(store: Store, layout: number, dataset: number): Moment | undefined {
  const a = Math.floor(store.time), b = Math.ceil(store.time);
  const from = store.tableAt(layout, dataset, a), to = store.tableAt(layout, dataset, b);
  if (from === undefined || to === undefined) return undefined;
  return { from, to, t: ease(store.time - a) };
}

export function viewMatrix(store: Store, view: number, rect: Rect): Float32Array {
  const layout = store.layoutOf(view)!;
  return matrix(store.cameras[view]!, layoutBox(layout.min, layout.max, layout.dims), layout.dims, rect);
}

/** Coordinates of one point (0..1 per axis, w > 0 if it is there) at a moment. */
export function position(a: Coords, b: Coords, t: number, slot: number): [number, number, number] | null {
  const i = 4 * slot;
  const in0 = a.xyzw[i + 3]! > 0, in1 = b.xyzw[i + 3]! > 0;
  if (!in0 && !in1) return null;
  const k = in0 && in1 ? t : in0 ? 0 : 1;
  const mix = (c: number) => (a.xyzw[i + c]! + (b.xyzw[i + c]! - a.xyzw[i + c]!) * k) / 65535;
  return [mix(0), mix(1), mix(2)];
}

export interface Projected { x: Float32Array; y: Float32Array }

/** Projections in CSS pixels of the stage; NaN where a point is missing or behind the eye. Kept until something moves. */
export class Projector {
  private readonly kept = new Map<string, { key: string; out: Projected }>();
  constructor(private readonly store: Store) {}

  get(view: number, dataset: number, rect: Rect): Projected | undefined {
    const { store } = this;
    const layout = store.layoutOf(view);
    if (layout === undefined) return undefined;
    const moment = momentOf(store, layout.id, dataset);
    if (moment === undefined) return undefined;
    const a = store.data.coordsNow(layout.id, moment.from), b = store.data.coordsNow(layout.id, moment.to);
    if (a === undefined || b === undefined) return undefined;
    const camera = store.cameras[view]!;
    const key = [store.generation, layout.id, moment.from, moment.to, moment.t, rect.x, rect.y, rect.width, rect.height, rect.shift, rect.sink, ...Object.values(camera)].join();
    const place = `${view}/${dataset}`;
    const known = this.kept.get(place);
    if (known?.key === key) return known.out;
    const n = Math.min(a.n, b.n);
    const out = known?.out.x.length === n ? known.out : { x: new Float32Array(n), y: new Float32Array(n) };
    projectInto(out, a.xyzw, b.xyzw, moment.from === moment.to ? 0 : moment.t, viewMatrix(store, view, rect), rect);
    this.kept.set(place, { key, out });
    return out;
  }

  forget(): void { this.kept.clear(); }
}

export function projectInto(out: Projected, a: Uint16Array, b: Uint16Array, t: number, m: Float32Array, rect: Rect): void {
  const { x, y } = out;
  const n = x.length;
  const k = 1 / 65535;
  const hw = rect.width / 2, hh = rect.height / 2, cx = rect.x + hw, cy = rect.y + hh;
  const m0 = m[0]! * k, m1 = m[1]! * k, m3 = m[3]! * k, m4 = m[4]! * k, m5 = m[5]! * k, m7 = m[7]! * k;
  const m8 = m[8]! * k, m9 = m[9]! * k, m11 = m[11]! * k, m12 = m[12]!, m13 = m[13]!, m15 = m[15]!;
  const still = t === 0 || a === b;
  for (let i = 0, j = 0; i < n; i++, j += 4) {
    let px: number, py: number, pz: number;
    if (still) {
      // At t = 0 a point that is only in b has faded to nothing.
      if (a[j + 3] === 0) { x[i] = NaN; y[i] = NaN; continue; }
      px = a[j]!; py = a[j + 1]!; pz = a[j + 2]!;
    } else {
      const in0 = a[j + 3]! > 0, in1 = b[j + 3]! > 0;
      if (!in0 && !in1) { x[i] = NaN; y[i] = NaN; continue; }
      const s = in0 && in1 ? t : in0 ? 0 : 1;
      px = a[j]! + (b[j]! - a[j]!) * s; py = a[j + 1]! + (b[j + 1]! - a[j + 1]!) * s; pz = a[j + 2]! + (b[j + 2]! - a[j + 2]!) * s;
    }
    const w = m3 * px + m7 * py + m11 * pz + m15;
    if (w <= 0) { x[i] = NaN; y[i] = NaN; continue; }
    x[i] = cx + (hw * (m0 * px + m4 * py + m8 * pz + m12)) / w;
    y[i] = cy - (hh * (m1 * px + m5 * py + m9 * pz + m13)) / w;
  }
}
