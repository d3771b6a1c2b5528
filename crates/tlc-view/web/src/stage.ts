// The map's surface: rectangles of the views, cameras, and what pointers do.
import { h, onFrame, reducedMotion } from "./dom";
import { boxPolygon } from "./lasso";
import { Overlay, type Drag } from "./overlay";
import { Picking } from "./picking";
import type { Ref } from "./points";
import { bounds } from "./renderer/bounds";
import { between, fitted, orbit, pan, zoom, type Camera, type Rect } from "./renderer/camera";
import { Renderer } from "./renderer/renderer";
import type { Mode } from "./selection";
import type { Store } from "./store";

const modeOf = (event: { shiftKey: boolean; altKey: boolean }, mode: Mode): Mode => (event.altKey ? "subtract" : event.shiftKey ? "add" : mode);

/** CSS pixels that the tools, the open legend and the pickers take from the map. */
const TOOLS = 60, LEGEND = 232, PICKERS = 56;

export class Stage {
  readonly element: HTMLElement;
  readonly surface: HTMLElement;
  readonly renderer: Renderer;
  legendOpen = false;
  /** CSS pixels that a drawer covers from below. */
  covered: () => number = () => 0;
  /** Milliseconds from the last lasso's end to its selection, projection and linked panels' notice included. */
  lassoMs = 0;
  private readonly picking: Picking;
  private readonly overlay: Overlay;
  private drag: Drag | null = null;
  private touches = new Map<number, { x: number; y: number }>();
  private flights: number[] = [0, 0];
  private lastPick: { x: number; y: number; refs: Ref[]; next: number } | null = null;
  private fitWanted = [true, true];

  constructor(private readonly store: Store) {
    const canvas = h("canvas", { class: "gl", "aria-hidden": "true" });
    this.renderer = new Renderer(canvas, store);
    this.picking = new Picking(store, this.renderer);
    this.overlay = new Overlay(store, this.renderer, this.picking);
    this.surface = h("div", {
      class: "surface", tabindex: 0, role: "application", "aria-roledescription": "map",
      "aria-label": "Map of the embeddings. Arrow keys move it, plus and minus zoom, F fits it, question mark lists all keys. The table has the same rows as text.",
    }, canvas, this.overlay.canvas);
    this.element = h("section", { class: "stage", "aria-label": "Map" }, this.surface);
    this.renderer.onDrawn = () => { this.fitIfWanted(); this.overlay.draw(this.drag); };
    new ResizeObserver(() => this.resize()).observe(this.surface);
    this.listen();
    store.on("views", () => { this.picking.forget(); this.place(); this.fitIfWanted(); });
    store.on("coords", () => this.fitIfWanted());
    // Marks lie on the canvas above; the points need not be drawn again for them.
    store.on(["hover", "sample"], onFrame(() => this.overlay.draw(this.drag)));
    store.on("tool", () => this.surface.dataset.tool = store.tool);
    this.surface.dataset.tool = store.tool;
  }

  get rects(): Rect[] { return this.renderer.rects; }

  /** The legend opens or closes: the middle of the map moves, and a map that is fitted stays fitted. */
  setLegend(open: boolean): void {
    this.legendOpen = open;
    this.resize();
  }

  resize(): void {
    this.place();
    const { width, height } = this.surface.getBoundingClientRect();
    this.overlay.resize(width, height);
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
      // The drawer hides the second of two maps above each other altogether.
      const below = i === rects.length - 1 || rect.y === rects[1]!.y ? Math.min(this.covered(), rect.height) : 0;
      if (rect.height - below > 3 * PICKERS) { rect.sink = (PICKERS - below) / 2; rect.tall = rect.height - PICKERS - below; }
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
    const { store } = this;
    const view = store.activeView;
    const to = this.fitCamera(view, true);
    if (to === null) {
      // To show everything would look as if that were the selection.
      if (!store.selection.any) this.fit();
      else if (store.selection.chosen > 0) store.tell("The selection has no place on this map.", "It may have one at another epoch or layout.");
      else store.tell("What is selected is hidden by filters.", "", false, { text: "Drop all filters", run: () => { store.filters.clear(); void store.refresh().then(() => this.focusSelection()); } });
      return;
    }
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
        if (this.touches.size > 1) { this.drag = null; this.overlay.draw(this.drag); return; }
      }
      const view = this.viewAt(x, y);
      if (store.activeView !== view) { store.activeView = view; store.emit("layout"); }
      const dims = store.layoutOf(view)?.dims ?? 2;
      const free = event.button === 0 && (store.tool !== "pan" || event.shiftKey || event.altKey);
      const kind = free ? (store.tool === "box" ? "box" : "lasso") : dims === 2 || event.button !== 0 || event.ctrlKey || event.metaKey ? "pan" : "orbit";
      this.drag = { kind, view, mode: modeOf(event, store.mode), x, y, startX: x, startY: y, moved: false, path: [x, y] };
      this.setHover(null);
      // The projection is ready by the time the lasso is drawn.
      if (free) setTimeout(() => this.picking.prepare(view));
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
      if (drag.kind === "lasso" || drag.kind === "box") this.overlay.draw(this.drag);
    });

    const end = (event: PointerEvent) => {
      this.touches.delete(event.pointerId);
      const { drag } = this;
      this.drag = null;
      if (drag === null || event.type === "pointercancel") { this.overlay.draw(this.drag); return; }
      const mode = drag.mode === store.mode ? modeOf(event, store.mode) : drag.mode;
      if (!drag.moved) { if (event.button === 0) this.click(drag.view, drag.x, drag.y, mode); }
      else if (drag.kind === "lasso") this.selectPolygon(drag.view, drag.path, mode);
      else if (drag.kind === "box") this.selectPolygon(drag.view, boxPolygon(drag.startX, drag.startY, drag.x, drag.y), mode);
      this.overlay.draw(this.drag);
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
    if (was) { this.drag = null; this.overlay.draw(this.drag); }
    return was;
  }

  // ---- picking and selecting ----

  private pointer: { x: number; y: number } | null = null;
  private hoverSoon = onFrame(() => {
    const { pointer, store } = this;
    if (pointer === null || this.drag !== null || store.playing) { this.setHover(null); return; }
    const view = this.viewAt(pointer.x, pointer.y);
    const found = this.picking.near(view, pointer.x, pointer.y);
    this.setHover(found.length === 0 ? null : { ...found[0]!, view, here: found.length });
  });

  private setHover(hover: Store["hover"]): void {
    const old = this.store.hover;
    if (old?.slot === hover?.slot && old?.dataset === hover?.dataset && old?.view === hover?.view) return;
    this.store.hover = hover;
    this.store.emit("hover");
  }

  private click(view: number, x: number, y: number, mode: Mode): void {
    // Points at one place: every further click takes the next of them.
    const last = this.lastPick;
    let ref: Ref | undefined;
    if (last !== null && Math.hypot(last.x - x, last.y - y) < 3 && last.refs.length > 1) {
      ref = last.refs[last.next % last.refs.length];
      last.next++;
    } else {
      const refs = this.picking.near(view, x, y);
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
  private selectPolygon(view: number, polygon: number[], mode: Mode): void {
    const start = performance.now();
    this.store.selection.hits(this.picking.inPolygon(view, polygon), mode);
    this.lassoMs = performance.now() - start;
  }

  /** Where a point is, in CSS pixels of the surface. */
  where(dataset: number, slot: number, view: number): [number, number] | null { return this.picking.where(dataset, slot, view); }
}
