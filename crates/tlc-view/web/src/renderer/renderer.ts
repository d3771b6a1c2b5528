// Draws the views into one canvas, only when something has changed. One GL context, so two views share all buffers.
import { OOD_FAR } from "../arrow";
import type { Points } from "../points";
import type { Store } from "../store";
import { eyeDistance, type Camera, type Rect } from "./camera";
import { BufferPool, makeContext, makeProgram, type Program } from "./gl";
import { momentOf, viewMatrix } from "./project";
import { POINT_FRAGMENT, POINT_VERTEX, TRAIL_FRAGMENT, TRAIL_VERTEX } from "./shaders";
import { makeTrails, STRIDE, trailsKey, type Trails } from "./trails";

interface PointBuffers { codes: WebGLBuffer; state: WebGLBuffer; picked: WebGLBuffer; codesVersion: number; stateVersion: number; chosen: number }

interface Themed { background: number[]; grey: number[]; ring: number[] }
const LIGHT: Themed = { background: [0.984, 0.988, 0.992], grey: [0.66, 0.69, 0.73], ring: [0.07, 0.09, 0.12] };
const DARK: Themed = { background: [0.055, 0.067, 0.086], grey: [0.34, 0.37, 0.42], ring: [0.97, 0.98, 1] };

export class Renderer {
  frame = 0;
  lost = false;
  rects: Rect[] = [];
  /** Camera after "fit", the measure of zoom. */
  homes: (Camera | undefined)[] = [];
  onDrawn: () => void = () => undefined;
  trailsShown: (Trails | null)[] = [null, null];
  private gl: WebGL2RenderingContext | null;
  private points!: Program;
  private lines!: Program;
  private pool!: BufferPool;
  private palette!: WebGLTexture;
  private paletteOf: unknown = null;
  private perDataset = new Map<number, PointBuffers>();
  private trailBuffers: (WebGLBuffer | null)[] = [null, null];
  private trailJobs = [0, 0];
  private asked = false;
  /** Whose positions the last picture is of. */
  private shown: { layout: number; table: number }[] = [];
  /** It lacked some that are on their way. */
  private incomplete = true;

  constructor(readonly canvas: HTMLCanvasElement, private readonly store: Store) {
    this.gl = makeContext(canvas);
    if (this.gl === null) return;
    this.setUp();
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.lost = true;
      store.trouble = { title: "The graphics card dropped the map.", advice: "It comes back by itself as a rule. If not, reload the page.", retry: null };
      store.emit("trouble");
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.lost = false;
      this.setUp();
      store.trouble = null;
      store.emit("trouble");
      this.invalidate();
    });
    store.on(["views", "time", "colour", "mask", "selection", "highlight", "camera", "theme", "options"], () => this.invalidate());
    // Positions fetched ahead change nothing on the screen.
    store.on("coords", () => { if (this.incomplete) this.invalidate(); });
  }

  get works(): boolean { return this.gl !== null; }
  get name(): string {
    const gl = this.gl;
    const info = gl?.getExtension("WEBGL_debug_renderer_info");
    return gl === null ? "none" : String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  }

  private setUp(): void {
    const gl = this.gl!;
    this.points = makeProgram(gl, POINT_VERTEX, POINT_FRAGMENT);
    this.lines = makeProgram(gl, TRAIL_VERTEX, TRAIL_FRAGMENT);
    this.pool = new BufferPool(gl, 192 << 20);
    this.palette = gl.createTexture()!;
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, 256, 256);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.paletteOf = null;
    this.perDataset.clear();
    this.trailBuffers = [null, null];
    this.trailsShown = [null, null];
  }

  invalidate(): void {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
      this.onDrawn();
    });
  }

  resize(width: number, height: number): void {
    const ratio = this.ratio;
    const w = Math.max(1, Math.round(width * ratio)), hh = Math.max(1, Math.round(height * ratio));
    if (this.canvas.width !== w || this.canvas.height !== hh) { this.canvas.width = w; this.canvas.height = hh; }
    this.invalidate();
  }

  get ratio(): number { return Math.min(2, window.devicePixelRatio || 1); }

  /** Diameter in CSS pixels: fewer points are larger, zooming in enlarges slowly. */
  pointSize(view: number): number {
    const n = this.store.datasetsOf(view).reduce((sum, d) => sum + this.store.points.get(d)!.visible, 0);
    const rect = this.rects[view];
    const room = rect === undefined ? 1 : Math.min(1.3, Math.max(0.7, Math.sqrt(Math.min(rect.width, rect.height) / 640)));
    const base = Math.min(11, Math.max(1.7, 8.5 * (1000 / Math.max(1, n)) ** 0.24));
    return Math.min(15, base * room * this.zoomOf(view) ** 0.36) * this.store.sizeFactor;
  }

  private zoomOf(view: number): number {
    const home = this.homes[view];
    return home === undefined ? 1 : Math.min(60, Math.max(0.25, home.h / this.store.cameras[view]!.h));
  }

  private opacity(view: number, dims: number): number {
    if (dims === 3) return Math.min(1, 0.96 * this.store.opacityFactor);
    const n = this.store.datasetsOf(view).reduce((sum, d) => sum + this.store.points.get(d)!.visible, 0);
    return Math.min(1, Math.max(0.25, 0.9 * (3000 / Math.max(3000, n)) ** 0.17 * this.zoomOf(view) ** 0.25) * this.store.opacityFactor);
  }

  draw(): void {
    const gl = this.gl;
    if (gl === null || this.lost || gl.isContextLost()) return;
    this.frame++;
    this.incomplete = false;
    const theme = this.store.dark ? DARK : LIGHT;
    gl.disable(gl.SCISSOR_TEST);
    gl.depthMask(true);
    gl.clearColor(theme.background[0]!, theme.background[1]!, theme.background[2]!, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uploadPalette(gl);
    this.shown = [];
    this.store.views.forEach((_, view) => { if (this.rects[view] !== undefined) this.drawView(gl, view, this.rects[view]!, theme); });
    this.store.data.holdCoords(this.shown);
  }

  private uploadPalette(gl: WebGL2RenderingContext): void {
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    const { scale } = this.store;
    if (this.paletteOf === scale) return;
    this.paletteOf = scale;
    const rows = Math.ceil(scale.colours.length / 256);
    const data = new Uint8Array(rows * 256 * 4);
    scale.colours.forEach((colour, i) => data.set([...colour, 255], 4 * i));
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, rows, gl.RGBA, gl.UNSIGNED_BYTE, data);
  }

  private uploadPoints(gl: WebGL2RenderingContext, points: Points): PointBuffers {
    let buffers = this.perDataset.get(points.info.id);
    if (buffers === undefined) {
      buffers = { codes: gl.createBuffer()!, state: gl.createBuffer()!, picked: gl.createBuffer()!, codesVersion: 0, stateVersion: 0, chosen: 0 };
      this.perDataset.set(points.info.id, buffers);
    }
    if (buffers.codesVersion !== points.codesVersion) {
      buffers.codesVersion = points.codesVersion;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.codes);
      gl.bufferData(gl.ARRAY_BUFFER, points.codes, gl.DYNAMIC_DRAW);
    }
    if (buffers.stateVersion !== points.stateVersion) {
      buffers.stateVersion = points.stateVersion;
      const n = points.mask.length;
      const state = new Uint8Array(n);
      const picked = new Uint32Array(points.chosen);
      let k = 0;
      for (let i = 0; i < n; i++) {
        state[i] = points.mask[i]! | (points.selected[i]! << 1);
        if (state[i] === 3) picked[k++] = i;
      }
      buffers.chosen = k;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.state);
      gl.bufferData(gl.ARRAY_BUFFER, state, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.picked);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, picked, gl.DYNAMIC_DRAW);
    }
    return buffers;
  }

  private drawView(gl: WebGL2RenderingContext, view: number, rect: Rect, theme: Themed): void {
    const { store, ratio } = this;
    const layout = store.layoutOf(view);
    if (layout === undefined) return;
    const x = Math.round(rect.x * ratio), y = Math.round(this.canvas.height - (rect.y + rect.height) * ratio);
    const width = Math.round(rect.width * ratio), height = Math.round(rect.height * ratio);
    gl.viewport(x, y, width, height);
    gl.scissor(x, y, width, height);
    const m = viewMatrix(store, view, rect);
    const depth = layout.dims === 3 ? eyeDistance(store.cameras[view]!) : 0;
    const selection = store.selection.any;
    const common = (program: Program) => {
      gl.useProgram(program.program);
      gl.uniformMatrix4fv(program.uniform("u_m"), false, m);
      gl.uniform1i(program.uniform("u_palette"), 0);
      gl.uniform3fv(program.uniform("u_background"), theme.background);
      gl.uniform1f(program.uniform("u_depth"), depth);
      gl.uniform1i(program.uniform("u_highlight"), store.highlight ?? -1);
    };

    const { points: p } = this;
    common(p);
    gl.uniform1f(p.uniform("u_size"), this.pointSize(view) * ratio);
    gl.uniform1f(p.uniform("u_ratio"), ratio);
    gl.uniform1f(p.uniform("u_opacity"), this.opacity(view, layout.dims));
    gl.uniform3fv(p.uniform("u_grey"), theme.grey);
    gl.uniform3fv(p.uniform("u_ring"), theme.ring);
    gl.uniform1i(p.uniform("u_selection"), selection ? 1 : 0);
    gl.uniform1i(p.uniform("u_ood"), layout.ood && store.showOod ? 1 : 0);
    gl.uniform1f(p.uniform("u_far"), (1 + OOD_FAR + 0.5) / 65535);
    const datasets = store.datasetsOf(view);
    // Many rings side by side would hide what they surround.
    const chosen = datasets.reduce((sum, d) => sum + store.points.get(d)!.chosen, 0);
    gl.uniform1f(p.uniform("u_rim"), Math.min(1.7, Math.max(0, 2.3 - 0.55 * Math.log10(Math.max(1, chosen)))));

    const pass = (which: 0 | 1 | 2) => {
      gl.uniform1i(p.uniform("u_pass"), which);
      datasets.forEach((dataset, order) => {
        const moment = momentOf(store, layout.id, dataset);
        if (moment === undefined) return;
        let { from, to, t } = moment;
        if (which === 2) {
          const other = store.tableAt(layout.id, dataset, store.ghost === "first" ? 0 : Math.max(0, Math.ceil(store.time) - 1));
          if (other === undefined) return;
          from = to = other;
          t = 0;
        }
        this.shown.push({ layout: layout.id, table: from }, { layout: layout.id, table: to });
        const a = store.wantCoords(layout.id, from), b = from === to ? a : store.wantCoords(layout.id, to);
        if (a === undefined || b === undefined) this.incomplete = true;
        const c = a ?? b, d = b ?? a;
        if (c === undefined || d === undefined) return;
        const points = store.points.get(dataset)!;
        const buffers = this.uploadPoints(gl, points);
        const n = Math.min(c.n, d.n, points.info.rows);
        this.bind(gl, "a_p0", this.pool.get(`${layout.id}/${a === undefined ? to : from}`, c.xyzw));
        this.bind(gl, "a_p1", this.pool.get(`${layout.id}/${b === undefined ? from : to}`, d.xyzw));
        this.bindInt(gl, "a_code", buffers.codes, gl.UNSIGNED_SHORT, 2);
        this.bindInt(gl, "a_state", buffers.state, gl.UNSIGNED_BYTE, 1);
        gl.uniform1f(p.uniform("u_t"), from === to ? 0 : t);
        gl.uniform1i(p.uniform("u_diamond"), datasets.length > 1 && order % 2 === 1 ? 1 : 0);
        if (which === 1) {
          gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.picked);
          if (buffers.chosen > 0) gl.drawElements(gl.POINTS, buffers.chosen, gl.UNSIGNED_INT, 0);
        } else gl.drawArrays(gl.POINTS, 0, n);
      });
    };

    gl.disable(gl.DEPTH_TEST);
    if (store.ghost !== "none" && store.steps.length > 1) pass(2);
    if (layout.dims === 3) { gl.enable(gl.DEPTH_TEST); gl.depthFunc(gl.LEQUAL); gl.depthMask(!selection); }
    pass(0);
    gl.disable(gl.DEPTH_TEST);
    if (store.trails) {
      common(this.lines);
      this.drawTrails(gl, view, width, height);
      common(p);
    }
    if (selection) {
      if (layout.dims === 3) { gl.depthMask(true); gl.enable(gl.DEPTH_TEST); }
      pass(1);
      gl.disable(gl.DEPTH_TEST);
    }
  }

  private bind(gl: WebGL2RenderingContext, name: string, buffer: WebGLBuffer): void {
    const at = this.points.attribute(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribDivisor(at, 0);
    gl.vertexAttribPointer(at, 4, gl.UNSIGNED_SHORT, true, 8, 0);
  }

  private bindInt(gl: WebGL2RenderingContext, name: string, buffer: WebGLBuffer, type: number, stride: number): void {
    const at = this.points.attribute(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribDivisor(at, 0);
    gl.vertexAttribIPointer(at, 1, type, stride, 0);
  }

  private drawTrails(gl: WebGL2RenderingContext, view: number, width: number, height: number): void {
    const { store, lines } = this;
    const key = trailsKey(store, view);
    let trails = this.trailsShown[view];
    if (trails?.key !== key) {
      const job = ++this.trailJobs[view]!;
      const wanted = key;
      // Set at once, so that further frames do not start it again; the old lines stay until the new ones are there.
      this.trailsShown[view] = trails = trails ? { ...trails, key: wanted } : { data: new ArrayBuffer(0), segments: 0, key: wanted, centroids: false, lines: 0 };
      makeTrails(store, view, () => job !== this.trailJobs[view]).then((made) => {
        if (made === null || job !== this.trailJobs[view] || this.gl === null || this.lost) return;
        this.trailsShown[view] = made;
        if (this.trailBuffers[view]) gl.deleteBuffer(this.trailBuffers[view]!);
        const buffer = gl.createBuffer()!;
        this.trailBuffers[view] = buffer;
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ARRAY_BUFFER, made.data, gl.STATIC_DRAW);
        store.emit("layout");
        this.invalidate();
      }, (error: unknown) => store.fail(error));
    }
    const buffer = this.trailBuffers[view];
    if (!buffer || trails.segments === 0) return;
    gl.uniform1f(lines.uniform("u_now"), store.time);
    gl.uniform1f(lines.uniform("u_steps"), store.steps.length);
    gl.uniform2f(lines.uniform("u_pixels"), width / 2, height / 2);
    gl.uniform1f(lines.uniform("u_width"), (trails.centroids ? 1.7 : trails.lines > 300 ? 0.5 : 0.8) * this.ratio);
    gl.uniform1f(lines.uniform("u_strength"), trails.centroids ? 1 : Math.min(1, Math.max(0.16, (60 / Math.max(1, trails.lines)) ** 0.5)));
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    for (const [name, offset] of [["a_a", 0], ["a_b", 8]] as const) {
      const at = lines.attribute(name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 4, gl.UNSIGNED_SHORT, true, STRIDE, offset);
      gl.vertexAttribDivisor(at, 1);
    }
    for (const [name, offset] of [["a_code", 16], ["a_step", 18]] as const) {
      const at = lines.attribute(name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribIPointer(at, 1, gl.UNSIGNED_SHORT, STRIDE, offset);
      gl.vertexAttribDivisor(at, 1);
    }
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, trails.segments);
  }

  /** One pixel of the picture (CSS pixels of the stage), for tests. */
  pixel(x: number, y: number): number[] {
    const gl = this.gl;
    const out = new Uint8Array(4);
    if (gl !== null) { this.draw(); gl.readPixels(Math.round(x * this.ratio), Math.round(this.canvas.height - y * this.ratio), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out); }
    return [...out];
  }
}
