// Which points are under the pointer or within a lasso, and where a point is on the screen: all on the projected positions.
import { lassoHits } from "./lasso";
import type { Ref } from "./points";
import { Projector } from "./renderer/project";
import type { Renderer } from "./renderer/renderer";
import type { Store } from "./store";

export class Picking {
  private readonly projector: Projector;

  constructor(private readonly store: Store, private readonly renderer: Renderer) {
    this.projector = new Projector(store);
  }

  /** Other tables or layouts may be shown from now on. */
  forget(): void { this.projector.forget(); }

  /** Projects what a view shows, so that a lasso need not wait for it. */
  prepare(view: number): void {
    const rect = this.renderer.rects[view];
    if (rect !== undefined) for (const dataset of this.store.datasetsOf(view)) this.projector.get(view, dataset, rect);
  }

  /** The nearest visible point within reach, and with it all that lie at the same place. */
  near(view: number, px: number, py: number): Ref[] {
    const rect = this.renderer.rects[view];
    if (rect === undefined) return [];
    const reach = Math.max(7, this.renderer.pointSize(view) / 2 + 3);
    let best = reach * reach, bx = 0, by = 0, hit: Ref | null = null;
    const datasets = this.store.datasetsOf(view);
    for (const dataset of datasets) {
      const at = this.projector.get(view, dataset, rect);
      if (at === undefined) continue;
      const { mask } = this.store.points.get(dataset)!;
      const { x, y } = at;
      for (let i = 0; i < x.length; i++) {
        const dx = x[i]! - px;
        if (!(dx < reach && dx > -reach)) continue;
        const dy = y[i]! - py, d = dx * dx + dy * dy;
        if (d < best && mask[i] === 1) { best = d; hit = { dataset, slot: i }; bx = x[i]!; by = y[i]!; }
      }
    }
    if (hit === null) return [];
    const out: Ref[] = [hit];
    for (const dataset of datasets) {
      const at = this.projector.get(view, dataset, rect);
      if (at === undefined) continue;
      const { mask } = this.store.points.get(dataset)!;
      for (let i = 0; i < at.x.length && out.length < 1000; i++) {
        if (Math.abs(at.x[i]! - bx) < 0.6 && Math.abs(at.y[i]! - by) < 0.6 && mask[i] === 1 && !(dataset === hit.dataset && i === hit.slot)) out.push({ dataset, slot: i });
      }
    }
    return out;
  }

  /** By dataset: 1 for every visible point inside a polygon, given in CSS pixels of the surface. */
  inPolygon(view: number, polygon: number[]): Map<number, Uint8Array> {
    const hits = new Map<number, Uint8Array>();
    const rect = this.renderer.rects[view];
    if (rect === undefined) return hits;
    for (const dataset of this.store.datasetsOf(view)) {
      const at = this.projector.get(view, dataset, rect);
      if (at === undefined) continue;
      const { mask } = this.store.points.get(dataset)!;
      const hit = new Uint8Array(mask.length);
      lassoHits(polygon, at, mask, hit);
      hits.set(dataset, hit);
    }
    return hits;
  }

  /** Where a point is, in CSS pixels of the surface. */
  where(dataset: number, slot: number, view: number): [number, number] | null {
    const rect = this.renderer.rects[view];
    const at = rect === undefined ? undefined : this.projector.get(view, dataset, rect);
    const x = at?.x[slot], y = at?.y[slot];
    return x === undefined || y === undefined || Number.isNaN(x) ? null : [x, y];
  }
}
