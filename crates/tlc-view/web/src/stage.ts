// The map's surface: rectangles of the views, cameras, pointers, picking, lasso and box, and what is drawn above the points.
import { h, onFrame, reducedMotion } from "./dom";
import { number } from "./format";
import { boxPolygon, lassoHits } from "./lasso";
import type { Ref } from "./points";
import { bounds, Labels } from "./renderer/bounds";
import { between, fitted, layoutBox, orbit, pan, zoom, type Camera, type Rect } from "./renderer/camera";
import { Projector, viewMatrix } from "./renderer/project";
import { Renderer } from "./renderer/renderer";
import type { Mode } from "./selection";
import type { Store } from "./store";

const modeOf = (event: { shiftKey: boolean; altKey: boolean }): Mode => (event.altKey ? "subtract" : event.shiftKey ? "add" : "replace");

/** CSS pixels that the tools, the open legend and the pickers take from the map. */
const TOOLS = 60, LEGEND = 232, PICKERS = 56;

interface Drag { kind: "pan" | "orbit" | "lasso" | "box"; view: number; mode: Mode; x: number; y: number; startX: number; startY: number; moved: boolean; path: number[] }

export class Stage {
  readonly element: HTMLElement;
  readonly surface: HTMLElement;
  readonly renderer: Renderer;
  readonly projector: Projector;
  legendOpen = false;
  /** Milliseconds from the last lasso's end to its selection, projection and linked panels' notice included. */
  lassoMs = 0;
  private readonly overlay: HTMLCanvasElement;
  private readonly classLabels: Labels;
  private drag: Drag | null = null;
  private touches = new Map<number, { x: number; y: number }>();
  private flights: number[] = [0, 0];
  private lastPick: { x: number; y: number; refs: Ref[]; next: number } | null = null;
  private fitWanted = [true, true];

  constructor(private readonly store: Store) {
    const canvas = h("canvas", { class: "gl", "aria-hidden": "true" });
    this.overlay = h("canvas", { class: "overlay", "aria-hidden": "true" });
    this.surface = h("div", {
      class: "surface", tabindex: 0, role: "application", "aria-roledescription": "map",
      "aria-label": "Map of the embeddings. Arrow keys move it, plus and minus zoom, F fits it, question mark lists all keys. The table has the same rows as text.",
    }, canvas, this.overlay);
    this.element = h("section", { class: "stage", "aria-label": "Map" }, this.surface);
    this.renderer = new Renderer(canvas, store);
    this.projector = new Projector(store);
    this.classLabels = new Labels(store);
    this.renderer.onDrawn = () => { this.fitIfWanted(); this.drawOverlay(); };
    new ResizeObserver(() => this.resize()).observe(this.surface);
    this.listen();
    store.on("views", () => { this.projector.forget(); this.place(); this.fitIfWanted(); });
    store.on("coords", () => this.fitIfWanted());
    // Marks lie on the canvas above; the points need not be drawn again for them.
    store.on(["hover", "sample"], onFrame(() => this.drawOverlay()));
    store.on("tool", () => this.surface.dataset.tool = store.tool);
    this.surface.dataset.tool = store.tool;
  }

  get rects(): Rect[] { return this.renderer.rects; }

  /** The legend opens or closes: the middle of the map moves, and a map that is fitted stays fitted. */
  setLegend(open: boolean): void {
    this.legendOpen = open;
    this.resize();
  }

  private resize(): void {
    this.place();
    const { width, height } = this.surface.getBoundingClientRect();
    this.overlay.width = Math.max(1, Math.round(width * this.renderer.ratio));
    this.overlay.height = Math.max(1, Math.round(height * this.renderer.ratio));
    this.renderer.resize(width, height);
    this.refit();
  }

  /** A map that stands as "fit" put it is fitted again when its rectangle changes. */
  private refit(): void {
    this.store.views.forEach((_, view) => {
      const home = this.renderer.homes[view], now = this.store.cameras[view]!;
      if (home === undefined || home.x !== now.x || home.y !== now.y || home.h !== now.h) return;
      const to = this.fitCamera(view, false);
      if (to === null) return;
      this.renderer.homes[view] = to;
      this.store.cameras[view] = { ...to };
      this.store.emit("camera");
    });
  }

  /** One rectangle, or two beside each other (above each other where the window is narrow). */
  private place(): void {
    const { width, height } = this.surface.getBoundingClientRect();
    const two = this.store.views.length > 1;
    let rects: Rect[];
    if (!two) rects = [{ x: 0, y: 0, width, height, shift: 0, room: width, sink: 0, tall: height }];
    else if (width >= height * 0.9) rects = [0, 1].map((i) => ({ x: i * Math.ceil(width / 2), y: 0, width: Math.floor(width / 2), height, shift: 0, room: Math.floor(width / 2), sink: 0, tall: height }));
    else rects = [0, 1].map((i) => ({ x: 0, y: i * Math.ceil(height / 2), width, height: Math.floor(height / 2), shift: 0, room: width, sink: 0, tall: Math.floor(height / 2) }));
    // Tools lie over the left edge of the first map, the legend over the right edge of the last in a row.
    rects.forEach((rect, i) => {
      if (rect.height > 4 * PICKERS) { rect.sink = PICKERS / 2; rect.tall = rect.height - PICKERS; }
      const left = i === 0 ? TOOLS : 0, right = this.legendOpen && (i === rects.length - 1 || rect.y !== rects[1]!.y) && !(i === 1 && rect.y > 0) ? LEGEND : 0;
      if (rect.width - left - right < 180) return;
      rect.shift = (left - right) / 2;
      rect.room = rect.width - left - right;
    });
    this.renderer.rects = rects;
    this.store.emit("layout");
  }

  // ---- cameras ----

  /** Called when a share link has given the cameras: no fit must move them. */
  keepCamera(view: number): void { this.fitWanted[view] = false; }
  wantFit(view: number): void {
    for (const each of this.together ? [0, 1] : [view]) {
      this.fitWanted[each] = true;
      this.renderer.homes[each] = undefined;
    }
    this.fitIfWanted();
  }

  /** Two linked maps of one layout show the same part of it, whatever datasets they hold. */
  private get together(): boolean {
    const [a, b] = this.store.views;
    return this.store.linked && a !== undefined && b !== undefined && a.layout === b.layout;
  }

  private fitIfWanted(): void {
    this.store.views.forEach((_, view) => {
      if (this.renderer.homes[view] !== undefined) return;
      const home = this.fitCamera(view, false);
      if (home === null) return;
      this.renderer.homes[view] = home;
      if (this.fitWanted[view]) { this.store.cameras[view] = { ...home }; this.fitWanted[view] = false; }
      this.store.emit("camera");
    });
  }

  private fitCamera(view: number, onlySelected: boolean): Camera | null {
    const own = this.fitAlone(view, onlySelected);
    if (!this.together || onlySelected) return own;
    const other = this.fitAlone(1 - view, onlySelected);
    if (own === null || other === null) return null;
    // What fits into the smaller room fits into both; ties go to the first map, so that both take the same.
    const wider = own.h === other.h ? (view === 0 ? own : other) : own.h > other.h ? own : other;
    return { ...own, x: wider.x, y: wider.y, z: wider.z, h: wider.h };
  }

  private fitAlone(view: number, onlySelected: boolean): Camera | null {
    const rect = this.rects[view], layout = this.store.layoutOf(view);
    const box = bounds(this.store, view, onlySelected);
    if (rect === undefined || rect.height < 2 || layout === undefined || box === null) return null;
    return fitted(this.store.cameras[view]!, layout.dims, box.centre, box.size, rect);
  }

  changeCamera(view: number, change: (camera: Camera, dims: number, rect: Rect) => void): void {
    const { store } = this;
    const layout = store.layoutOf(view), rect = this.rects[view];
    if (layout === undefined || rect === undefined) return;
    this.flights[view]!++;
    change(store.cameras[view]!, layout.dims, rect);
    this.follow(view);
    store.emit("camera");
  }

  /** The linked camera shows the same part of its own map, measured from where "fit" would put each. */
  private follow(view: number): void {
    const { store } = this;
    const other = 1 - view;
    if (!store.linked || store.views.length < 2 || store.layoutOf(view)?.dims !== store.layoutOf(other)?.dims) return;
    const camera = store.cameras[view]!;
    const home = this.renderer.homes[view] ?? camera, away = this.renderer.homes[other] ?? camera;
    const same = store.views[view]!.layout === store.views[other]!.layout;
    const k = same ? 1 : away.h / home.h;
    const move = (a: number, b: number, c: number) => (same ? c : b + (c - a) * k);
    store.cameras[other] = { x: move(home.x, away.x, camera.x), y: move(home.y, away.y, camera.y), z: move(home.z, away.z, camera.z), h: camera.h * k, theta: camera.theta, phi: camera.phi };
  }

  private fly(view: number, to: Camera): void {
    const from = { ...this.store.cameras[view]! };
    const flight = ++this.flights[view]!;
    const start = performance.now();
    const duration = reducedMotion() ? 0 : 420;
    const go = () => {
      if (flight !== this.flights[view]) return;
      const t = duration === 0 ? 1 : Math.min(1, (performance.now() - start) / duration);
      this.store.cameras[view] = between(from, to, 1 - (1 - t) ** 3);
      this.follow(view);
      this.store.emit("camera");
      if (t < 1) requestAnimationFrame(go);
    };
    go();
  }

  fit(): void {
    this.store.views.forEach((_, view) => {
      const to = this.fitCamera(view, false);
      if (to !== null) { this.renderer.homes[view] = to; if (!(view === 1 && this.together)) this.fly(view, to); }
    });
  }

  focusSelection(): void {
    const view = this.store.activeView;
    const to = this.fitCamera(view, true);
    if (to === null) { this.fit(); return; }
    const home = this.renderer.homes[view];
    this.fly(view, { ...to, h: Math.max(to.h * 1.35, (home?.h ?? 1) * 0.16) });
  }

  zoomBy(factor: number): void {
    this.changeCamera(this.store.activeView, (camera, dims, rect) => zoom(camera, dims, factor, rect.width / 2 + rect.shift, rect.height / 2 + rect.sink, rect));
  }

  moveBy(dx: number, dy: number): void {
    this.changeCamera(this.store.activeView, (camera, dims, rect) => (dims === 3 ? orbit(camera, dx, dy) : pan(camera, dims, dx, dy, rect.height)));
  }

  // ---- pointers ----

  private viewAt(x: number, y: number): number {
    const found = this.rects.findIndex((r, i) => i < this.store.views.length && x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height);
    return Math.max(0, found);
  }

  private listen(): void {
    const { surface, store } = this;
    const local = (event: { clientX: number; clientY: number }) => {
      const box = surface.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    surface.addEventListener("contextmenu", (event) => event.preventDefault());
    surface.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = local(event);
      const view = this.viewAt(x, y);
      // A trackpad pinch arrives as ctrl + wheel in small steps.
      const step = event.deltaY * (event.deltaMode === 1 ? 16 : 1) * (event.ctrlKey ? 0.01 : 0.0016);
      this.changeCamera(view, (camera, dims, rect) => zoom(camera, dims, Math.exp(Math.min(1, Math.max(-1, step))), x - rect.x, y - rect.y, rect));
    }, { passive: false });

    surface.addEventListener("pointerdown", (event) => {
      surface.focus({ preventScroll: true });
      try { surface.setPointerCapture(event.pointerId); } catch { /* a pointer made by a script */ }
      const { x, y } = local(event);
      if (event.pointerType === "touch") {
        this.touches.set(event.pointerId, { x, y });
        if (this.touches.size > 1) { this.drag = null; this.drawOverlay(); return; }
      }
      const view = this.viewAt(x, y);
      if (store.activeView !== view) { store.activeView = view; store.emit("layout"); }
      const dims = store.layoutOf(view)?.dims ?? 2;
      const free = event.button === 0 && (store.tool !== "pan" || event.shiftKey || event.altKey);
      const kind = free ? (store.tool === "box" ? "box" : "lasso") : dims === 2 || event.button !== 0 || event.ctrlKey || event.metaKey ? "pan" : "orbit";
      this.drag = { kind, view, mode: modeOf(event), x, y, startX: x, startY: y, moved: false, path: [x, y] };
      this.setHover(null);
      // The projection is ready by the time the lasso is drawn.
      if (free) setTimeout(() => { const rect = this.rects[view]; if (rect !== undefined) for (const dataset of store.datasetsOf(view)) this.projector.get(view, dataset, rect); });
    });

    surface.addEventListener("pointermove", (event) => {
      const { x, y } = local(event);
      const touch = this.touches.get(event.pointerId);
      if (touch !== undefined && this.touches.size > 1) { this.pinch(event.pointerId, x, y); return; }
      const { drag } = this;
      if (drag === null) { if (event.pointerType !== "touch") { this.pointer = { x, y }; this.hoverSoon(); } return; }
      if (!drag.moved && Math.hypot(x - drag.startX, y - drag.startY) < 4) return;
      drag.moved = true;
      const dx = x - drag.x, dy = y - drag.y;
      if (drag.kind === "pan") this.changeCamera(drag.view, (camera, dims, rect) => pan(camera, dims, dx, dy, rect.height));
      else if (drag.kind === "orbit") this.changeCamera(drag.view, (camera) => orbit(camera, dx, dy));
      else if (drag.kind === "lasso") { if (Math.hypot(x - drag.path[drag.path.length - 2]!, y - drag.path[drag.path.length - 1]!) >= 2) drag.path.push(x, y); }
      drag.x = x;
      drag.y = y;
      if (drag.kind === "lasso" || drag.kind === "box") this.drawOverlay();
    });

    const end = (event: PointerEvent) => {
      this.touches.delete(event.pointerId);
      const { drag } = this;
      this.drag = null;
      if (drag === null || event.type === "pointercancel") { this.drawOverlay(); return; }
      const mode = drag.mode === "replace" ? modeOf(event) : drag.mode;
      if (!drag.moved) { if (event.button === 0) this.click(drag.view, drag.x, drag.y, mode); }
      else if (drag.kind === "lasso") this.selectPolygon(drag.view, drag.path, mode);
      else if (drag.kind === "box") this.selectPolygon(drag.view, boxPolygon(drag.startX, drag.startY, drag.x, drag.y), mode);
      this.drawOverlay();
    };
    surface.addEventListener("pointerup", end);
    surface.addEventListener("pointercancel", end);
    surface.addEventListener("pointerleave", () => { this.pointer = null; this.setHover(null); });
    surface.addEventListener("dblclick", (event) => {
      const { x, y } = local(event);
      this.changeCamera(this.viewAt(x, y), (camera, dims, rect) => zoom(camera, dims, 0.5, x - rect.x, y - rect.y, rect));
    });
  }

  private pinch(id: number, x: number, y: number): void {
    const measure = () => {
      const [a, b] = [...this.touches.values()];
      return { x: (a!.x + b!.x) / 2, y: (a!.y + b!.y) / 2, d: Math.max(1, Math.hypot(a!.x - b!.x, a!.y - b!.y)) };
    };
    const before = measure();
    this.touches.set(id, { x, y });
    const after = measure();
    this.changeCamera(this.viewAt(after.x, after.y), (camera, dims, rect) => {
      pan(camera, dims, after.x - before.x, after.y - before.y, rect.height);
      zoom(camera, dims, before.d / after.d, after.x - rect.x, after.y - rect.y, rect);
    });
  }

  /** Gives up a drag under way; true if there was one. */
  cancelDrag(): boolean {
    const was = this.drag !== null && (this.drag.kind === "lasso" || this.drag.kind === "box");
    if (was) { this.drag = null; this.drawOverlay(); }
    return was;
  }

  // ---- picking and selecting ----

  private pointer: { x: number; y: number } | null = null;
  private hoverSoon = onFrame(() => {
    const { pointer, store } = this;
    if (pointer === null || this.drag !== null || store.playing) { this.setHover(null); return; }
    const view = this.viewAt(pointer.x, pointer.y);
    const found = this.pick(view, pointer.x, pointer.y);
    this.setHover(found.length === 0 ? null : { ...found[0]!, view, here: found.length });
  });

  private setHover(hover: Store["hover"]): void {
    const old = this.store.hover;
    if (old?.slot === hover?.slot && old?.dataset === hover?.dataset && old?.view === hover?.view) return;
    this.store.hover = hover;
    this.store.emit("hover");
  }

  /** The nearest visible point within reach, and with it all that lie at the same place. */
  pick(view: number, px: number, py: number): Ref[] {
    const rect = this.rects[view];
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

  private click(view: number, x: number, y: number, mode: Mode): void {
    // Points at one place: every further click takes the next of them.
    const last = this.lastPick;
    let ref: Ref | undefined;
    if (last !== null && Math.hypot(last.x - x, last.y - y) < 3 && last.refs.length > 1) {
      ref = last.refs[last.next % last.refs.length];
      last.next++;
    } else {
      const refs = this.pick(view, x, y);
      ref = refs[0];
      this.lastPick = refs.length === 0 ? null : { x, y, refs, next: 1 };
    }
    if (ref === undefined) {
      if (mode === "replace" && this.store.tool === "pan") { this.store.selection.clear(); this.store.openSample(null); }
      return;
    }
    this.store.selection.refs([ref], mode);
    this.store.openSample(ref);
  }

  /** Polygon in CSS pixels of the surface. */
  selectPolygon(view: number, polygon: number[], mode: Mode): void {
    const rect = this.rects[view];
    if (rect === undefined) return;
    const start = performance.now();
    const hits = new Map<number, Uint8Array>();
    for (const dataset of this.store.datasetsOf(view)) {
      const at = this.projector.get(view, dataset, rect);
      if (at === undefined) continue;
      const { mask } = this.store.points.get(dataset)!;
      const hit = new Uint8Array(mask.length);
      lassoHits(polygon, at, mask, hit);
      hits.set(dataset, hit);
    }
    this.store.selection.hits(hits, mode);
    this.lassoMs = performance.now() - start;
  }

  /** Where a point is, in CSS pixels of the surface. */
  where(dataset: number, slot: number, view: number): [number, number] | null {
    const rect = this.rects[view];
    const at = rect === undefined ? undefined : this.projector.get(view, dataset, rect);
    const x = at?.x[slot], y = at?.y[slot];
    return x === undefined || y === undefined || Number.isNaN(x) ? null : [x, y];
  }

  // ---- above the points ----

  private drawOverlay(): void {
    const c = this.overlay.getContext("2d");
    if (c === null) return;
    const { store } = this;
    const ratio = this.renderer.ratio;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.overlay.width, this.overlay.height);
    const ink = store.dark ? "#f2f5f9" : "#14181f", paper = store.dark ? "rgba(14,17,22,.86)" : "rgba(251,252,253,.9)";
    store.views.forEach((_, view) => {
      const rect = this.rects[view];
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
      const at = this.where(dataset, slot, view);
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
    if (this.drag !== null && this.drag.moved && (this.drag.kind === "lasso" || this.drag.kind === "box")) this.drawDrag(c, this.drag);
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
