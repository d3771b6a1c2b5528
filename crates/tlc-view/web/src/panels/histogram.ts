// Histogram of one numeric column: everything in grey, what is selected (or passes the filters) in colour,
// and a range filter to drag on the bars or to move with two sliders.
import type { ColumnInfo } from "../api";
import type { Column } from "../arrow";
import { h, s } from "../dom";
import { number } from "../format";
import { NOTHING, type Range } from "../scale";
import type { Store } from "../store";

const BINS = 40, WIDTH = 320, HEIGHT = 56;

export class Histogram {
  readonly element: HTMLElement;
  private readonly all = s("path", { class: "bars all" });
  private readonly some = s("path", { class: "bars some" });
  private readonly shade = [s("rect", { class: "shade", y: 0, height: HEIGHT }), s("rect", { class: "shade", y: 0, height: HEIGHT })];
  private readonly from: HTMLInputElement;
  private readonly to: HTMLInputElement;
  private readonly readout = h("span", { class: "quiet" });
  /** Not known before the values are. */
  private domain: Range | null = null;

  constructor(private readonly store: Store, readonly info: ColumnInfo) {
    const slider = (what: string) => {
      const node = h("input", { type: "range", min: 0, max: 200, step: 1, value: what === "at least" ? 0 : 200, "aria-label": `${info.name} ${what}` });
      node.addEventListener("input", () => this.apply());
      return node;
    };
    this.from = slider("at least");
    this.to = slider("at most");
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "histogram", preserveAspectRatio: "none", "aria-hidden": "true" }, this.all, this.some, ...this.shade);
    this.brush(svg);
    this.element = h("div", { class: "column-card" },
      h("div", { class: "column-head" }, h("span", { class: "column-name", dir: "auto" }, info.name), this.readout),
      svg, h("div", { class: "range" }, this.from, this.to));
  }

  private stepAt(value: number, { lo, hi }: Range): number { return Math.round(Math.min(200, Math.max(0, (200 * (value - lo)) / (hi - lo || 1)))); }

  /** An end of the slider means "no limit". */
  private apply(): void {
    if (this.domain === null) return;
    const a = Math.min(Number(this.from.value), Number(this.to.value)), b = Math.max(Number(this.from.value), Number(this.to.value));
    const { lo, hi } = this.domain;
    const valueAt = (step: number) => lo + ((hi - lo) * step) / 200;
    this.store.filters.setRange(this.info.name, a <= 0 && b >= 200 ? null : { lo: a <= 0 ? -Infinity : valueAt(a), hi: b >= 200 ? Infinity : valueAt(b) });
  }

  private brush(svg: SVGSVGElement): void {
    let start: number | null = null;
    const at = (event: PointerEvent) => { const box = svg.getBoundingClientRect(); return Math.min(200, Math.max(0, (200 * (event.clientX - box.left)) / box.width)); };
    svg.addEventListener("pointerdown", (event) => { start = at(event); svg.setPointerCapture(event.pointerId); });
    svg.addEventListener("pointermove", (event) => {
      if (start === null || Math.abs(at(event) - start) < 2) return;
      this.from.value = String(Math.min(start, at(event)));
      this.to.value = String(Math.max(start, at(event)));
      this.apply();
    });
    svg.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(at(event) - start) < 2) this.store.filters.setRange(this.info.name, null);
      start = null;
    });
    svg.addEventListener("dblclick", () => this.store.filters.setRange(this.info.name, null));
  }

  /** `loaded` are the column's values by dataset; the bars are all that is kept of them. */
  update(rows: { dataset: number; slots: Uint32Array }[], loaded: Map<number, Column>): void {
    const { store, info } = this;
    const columns = new Map<number, Float32Array>();
    const whole = store.ranges.get(info.name);
    let { lo, hi } = whole ?? NOTHING;
    for (const [dataset, { floats }] of loaded) {
      if (floats === null) continue;
      columns.set(dataset, floats);
      if (whole === undefined) for (const v of floats) { if (v < lo) lo = v; if (v > hi && v < Infinity) hi = v; }
    }
    if (!(lo <= hi)) { lo = 0; hi = 1; }
    if (lo === hi) hi = lo + 1;
    this.domain = { lo, hi };
    const k = BINS / (hi - lo);
    const all = new Float64Array(BINS), some = new Float64Array(BINS);
    const bin = (v: number) => Math.min(BINS - 1, Math.max(0, Math.floor((v - lo) * k)));
    for (const floats of columns.values()) for (let i = 0; i < floats.length; i++) { const v = floats[i]!; if (v === v) all[bin(v)]!++; }
    let sum = 0, n = 0;
    for (const { dataset, slots } of rows) {
      const floats = columns.get(dataset);
      if (floats === undefined) continue;
      for (let i = 0; i < slots.length; i++) { const v = floats[slots[i]!]!; if (v === v) { some[bin(v)]!++; sum += v; n++; } }
    }
    const most = Math.max(1, ...all);
    const path = (heights: Float64Array) => {
      const step = WIDTH / BINS;
      let d = "";
      heights.forEach((v, i) => { if (v > 0) { const tall = Math.max(1.5, (HEIGHT - 2) * Math.sqrt(v / most)); d += `M${(i * step + 0.5).toFixed(1)} ${HEIGHT}h${(step - 1).toFixed(1)}v${(-tall).toFixed(1)}h${(1 - step).toFixed(1)}z`; } });
      return d;
    };
    this.all.setAttribute("d", path(all));
    this.some.setAttribute("d", path(some));
    this.readout.textContent = n === 0 ? "no values" : `mean ${number(sum / n)}`;
    const range = store.filters.ranges.get(info.name) ?? { lo: -Infinity, hi: Infinity };
    const a = this.stepAt(range.lo === -Infinity ? lo : range.lo, this.domain), b = this.stepAt(range.hi === Infinity ? hi : range.hi, this.domain);
    if (document.activeElement !== this.from && document.activeElement !== this.to) { this.from.value = String(a); this.to.value = String(b); }
    for (const [slider, v] of [[this.from, range.lo], [this.to, range.hi]] as const) slider.setAttribute("aria-valuetext", Number.isFinite(v) ? number(v) : "no limit");
    this.shade[0]!.setAttribute("x", "0");
    this.shade[0]!.setAttribute("width", String((a / 200) * WIDTH));
    this.shade[1]!.setAttribute("x", String((b / 200) * WIDTH));
    this.shade[1]!.setAttribute("width", String(WIDTH - (b / 200) * WIDTH));
  }
}
