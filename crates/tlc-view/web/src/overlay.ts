// Drawn above the points, on a canvas of its own, so that hovering need not draw the points again: names of classes,
// marks, the scale, and the lasso under way.
import { h } from "./dom";
import { number } from "./format";
import { boxPolygon } from "./lasso";
import type { Picking } from "./picking";
import { Labels } from "./renderer/bounds";
import { layoutBox, type Rect } from "./renderer/camera";
import { viewMatrix } from "./renderer/project";
import type { Renderer } from "./renderer/renderer";
import type { Mode } from "./selection";
import type { Store } from "./store";

/** A movement of the pointer with a button down, in CSS pixels of the surface. */
export interface Drag { kind: "pan" | "orbit" | "lasso" | "box"; view: number; mode: Mode; x: number; y: number; startX: number; startY: number; moved: boolean; path: number[] }

export class Overlay {
  readonly canvas = h("canvas", { class: "overlay", "aria-hidden": "true" });
  private readonly classLabels: Labels;

  constructor(private readonly store: Store, private readonly renderer: Renderer, private readonly picking: Picking) {
    this.classLabels = new Labels(store);
  }

  resize(width: number, height: number): void {
    this.canvas.width = Math.max(1, Math.round(width * this.renderer.ratio));
    this.canvas.height = Math.max(1, Math.round(height * this.renderer.ratio));
  }

  draw(drag: Drag | null): void {
    const c = this.canvas.getContext("2d");
    if (c === null) return;
    const { store } = this;
    const ratio = this.renderer.ratio;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const ink = store.dark ? "#f2f5f9" : "#14181f", paper = store.dark ? "rgba(14,17,22,.86)" : "rgba(251,252,253,.9)";
    store.views.forEach((_, view) => {
      const rect = this.renderer.rects[view];
      const layout = store.layoutOf(view);
      if (rect === undefined || layout === undefined) return;
      c.save();
      c.beginPath();
      c.rect(rect.x, rect.y, rect.width, rect.height);
      c.clip();
      this.drawLabels(c, view, rect, ink, paper);
      this.drawScale(c, view, rect, ink);
      c.restore();
      if (view === 1) { c.fillStyle = store.dark ? "#262d38" : "#dbe1e8"; if (rect.x > 0) c.fillRect(rect.x - 1, rect.y, 1, rect.height); else c.fillRect(rect.x, rect.y - 1, rect.width, 1); }
    });
    const mark = (dataset: number, slot: number, radius: number, width: number) => store.views.forEach((_, view) => {
      if (!store.datasetsOf(view).includes(dataset)) return;
      const at = this.picking.where(dataset, slot, view);
      if (at === null) return;
      c.lineWidth = width + 2;
      c.strokeStyle = paper;
      c.beginPath();
      c.arc(at[0], at[1], radius, 0, 7);
      c.stroke();
      c.lineWidth = width;
      c.strokeStyle = ink;
      c.stroke();
    });
    const size = this.renderer.pointSize(0) / 2;
    if (store.sample !== null) mark(store.sample.dataset, store.sample.slot, size + 7, 2);
    if (store.hover !== null) mark(store.hover.dataset, store.hover.slot, size + 4, 1.5);
    if (drag !== null && drag.moved && (drag.kind === "lasso" || drag.kind === "box")) this.drawDrag(c, drag);
  }

  private drawDrag(c: CanvasRenderingContext2D, drag: Drag): void {
    const path = drag.kind === "box" ? boxPolygon(drag.startX, drag.startY, drag.x, drag.y) : drag.path;
    const colour = drag.mode === "subtract" ? "213,94,0" : this.store.dark ? "110,168,254" : "30,90,200";
    c.beginPath();
    for (let i = 0; i < path.length; i += 2) c.lineTo(path[i]!, path[i + 1]!);
    c.closePath();
    c.fillStyle = `rgba(${colour},.12)`;
    c.fill("evenodd");
    c.strokeStyle = `rgb(${colour})`;
    c.lineWidth = 1.5;
    c.setLineDash([5, 4]);
    c.stroke();
    c.setLineDash([]);
  }

  private drawLabels(c: CanvasRenderingContext2D, view: number, rect: Rect, ink: string, paper: string): void {
    const labels = this.classLabels.get(view);
    if (labels.length === 0 || this.store.highlight !== null && labels.every((l) => l.code !== this.store.highlight)) return;
    const m = viewMatrix(this.store, view, rect);
    c.font = "600 12.5px system-ui, sans-serif";
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.lineJoin = "round";
    const taken: number[][] = [];
    const placed: [string, number, number][] = [];
    for (const { text, code, at: [x, y, z] } of labels) {
      if (this.store.highlight !== null && code !== this.store.highlight) continue;
      const w = m[3]! * x + m[7]! * y + m[11]! * z + m[15]!;
      if (w <= 0) continue;
      const px = rect.x + (rect.width / 2) * (1 + (m[0]! * x + m[4]! * y + m[8]! * z + m[12]!) / w);
      const py = rect.y + (rect.height / 2) * (1 - (m[1]! * x + m[5]! * y + m[9]! * z + m[13]!) / w);
      const short = text.length > 24 ? `${text.slice(0, 23)}…` : text;
      const half = c.measureText(short).width / 2 + 3;
      if (taken.some(([l, r, t]) => px + half > l! && px - half < r! && Math.abs(py - t!) < 15)) continue;
      taken.push([px - half, px + half, py]);
      placed.push([short, px, py]);
    }
    // Where most names fall onto each other the classes are not apart yet, and a single name would mislead.
    if (placed.length * 2 < labels.length && this.store.highlight === null) return;
    c.strokeStyle = paper;
    c.fillStyle = ink;
    c.lineWidth = 4;
    for (const [text, x, y] of placed) { c.strokeText(text, x, y); c.fillText(text, x, y); }
  }

  /** A bar of a round length in the layout's own units: no axes, but a feeling for distances. */
  private drawScale(c: CanvasRenderingContext2D, view: number, rect: Rect, ink: string): void {
    const layout = this.store.layoutOf(view)!;
    const perPixel = ((2 * this.store.cameras[view]!.h) / rect.height) * layoutBox(layout.min, layout.max, layout.dims).unit;
    const raw = perPixel * 90;
    const power = 10 ** Math.floor(Math.log10(raw));
    const length = [5, 2, 1].map((k) => k * power).find((v) => v <= raw) ?? power;
    const width = length / perPixel;
    const x = rect.x + rect.width - 16 - width, y = rect.y + rect.height - 14;
    c.globalAlpha = 0.75;
    c.strokeStyle = c.fillStyle = ink;
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x, y - 4); c.lineTo(x, y); c.lineTo(x + width, y); c.lineTo(x + width, y - 4);
    c.stroke();
    c.font = "11px system-ui, sans-serif";
    c.textAlign = "right";
    c.textBaseline = "bottom";
    c.fillText(`${number(length)}${layout.dims === 3 ? " at the centre" : ""}`, x + width, y - 5);
    c.globalAlpha = 1;
  }
}
