// World lines: the way of every selected point through all steps, or of class centroids when those are too many.
import type { Layout } from "../api";
import type { Store } from "../store";

export const MOST_TRAILS = 2000;
/** Bytes per segment: two points of 4 × u16, code and step as u16. */
export const STRIDE = 20;

export interface Trails { data: ArrayBuffer; segments: number; key: string; centroids: boolean; lines: number }

/** The steps at which a dataset has its own table in this layout. */
function ownSteps(store: Store, layout: Layout, dataset: number): { step: number; table: number }[] {
  const out: { step: number; table: number }[] = [];
  store.steps.forEach((step, i) => {
    const table = step.tables.find((t) => store.table(t)?.dataset === dataset && layout.tables.includes(t));
    if (table !== undefined) out.push({ step: i, table });
  });
  return out;
}

export function trailsKey(store: Store, view: number): string {
  const parts = store.datasetsOf(view).map((d) => { const p = store.points.get(d)!; return `${d}.${p.stateVersion}.${p.codesVersion}`; });
  return `${store.generation} ${store.views[view]!.layout} ${parts.join()}`;
}

/** Fetches table after table and keeps only the positions needed, so that memory does not grow with epochs. */
export async function makeTrails(store: Store, view: number, cancelled: () => boolean): Promise<Trails | null> {
  const layout = store.layoutOf(view);
  if (layout === undefined) return null;
  const key = trailsKey(store, view);
  const datasets = store.datasetsOf(view);
  const chosen = datasets.reduce((sum, d) => sum + store.points.get(d)!.chosen, 0);
  const centroids = chosen === 0 || chosen > MOST_TRAILS;
  const pieces: { a: number[]; b: number[]; code: number; step: number }[] = [];
  let lines = 0;

  for (const dataset of datasets) {
    const points = store.points.get(dataset)!;
    const steps = ownSteps(store, layout, dataset);
    let groups: { code: number; slots: number[] }[];
    if (centroids) {
      const byCode = new Map<number, number[]>();
      for (let i = 0; i < points.mask.length; i++) {
        if (points.mask[i] === 0 || (chosen > 0 && points.selected[i] === 0)) continue;
        const code = store.scale.kind === "category" ? points.codes[i]! : 0;
        const list = byCode.get(code);
        if (list === undefined) byCode.set(code, [i]); else list.push(i);
      }
      groups = [...byCode].slice(0, MOST_TRAILS).map(([code, slots]) => ({ code, slots }));
    } else {
      groups = [];
      for (let i = 0; i < points.mask.length; i++) if (points.mask[i] === 1 && points.selected[i] === 1) groups.push({ code: points.codes[i]!, slots: [i] });
    }
    lines += groups.length;
    let last: (number[] | null)[] = groups.map(() => null);
    let lastStep = 0;
    for (const { step, table } of steps) {
      const { xyzw } = await store.data.coords(layout.id, table);
      if (cancelled()) return null;
      const now = groups.map(({ slots }) => {
        const sum = [0, 0, 0];
        let n = 0;
        for (const slot of slots) {
          if (xyzw[4 * slot + 3] === 0) continue;
          for (let c = 0; c < 3; c++) sum[c]! += xyzw[4 * slot + c]!;
          n++;
        }
        return n === 0 ? null : sum.map((v) => v / n);
      });
      now.forEach((p, g) => { const q = last[g]; if (p !== null && q) pieces.push({ a: q, b: p, code: groups[g]!.code, step: lastStep }); });
      last = now.map((p, g) => p ?? last[g]!);
      lastStep = step;
    }
  }

  const data = new ArrayBuffer(pieces.length * STRIDE);
  const words = new Uint16Array(data);
  pieces.forEach((piece, i) => {
    const at = (i * STRIDE) / 2;
    for (let c = 0; c < 3; c++) { words[at + c] = piece.a[c]!; words[at + 4 + c] = piece.b[c]!; }
    words[at + 8] = piece.code;
    words[at + 9] = piece.step;
  });
  return { data, segments: pieces.length, key, centroids, lines };
}
