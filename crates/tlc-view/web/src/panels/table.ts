// The rows of the selection as a table: only the rows in sight exist in the page, sorting works on typed arrays.
import type { ColumnInfo } from "../api";
import type { Column } from "../arrow";
import { showValue } from "../data";
import { fill, h, onFrame } from "../dom";
import { count } from "../format";
import type { Ref } from "../points";
import type { Store } from "../store";
import { hasImages, thumb } from "../thumbs";

const ROW = 36;
/** Browsers cannot scroll much further than this; longer tables scroll in proportion. */
const MOST_HEIGHT = 6_000_000;

interface Sort { key: string; down: boolean }

/** Least-significant-digit radix sort of row numbers by u32 keys, stable, ~50 ms for a million. */
function radixSort(keys: Uint32Array): Uint32Array<ArrayBuffer> {
  const n = keys.length;
  let from = new Uint32Array(n), to = new Uint32Array(n);
  for (let i = 0; i < n; i++) from[i] = i;
  for (let shift = 0; shift < 32; shift += 16) {
    const starts = new Uint32Array(65_537);
    for (let i = 0; i < n; i++) starts[((keys[i]! >>> shift) & 65_535) + 1]!++;
    for (let i = 0; i < 65_536; i++) starts[i + 1]! += starts[i]!;
    for (let i = 0; i < n; i++) { const row = from[i]!; to[starts[(keys[row]! >>> shift) & 65_535]!++] = row; }
    [from, to] = [to, from];
  }
  return from;
}

/** Floats in an order of unsigned integers; NaN last. */
function sortableFloat(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint32Array(values.length);
  for (let i = 0; i < out.length; i++) { const b = bits[i]!; out[i] = values[i] !== values[i] ? 0xffffffff : (b & 0x80000000) !== 0 ? ~b >>> 0 : (b | 0x80000000) >>> 0; }
  return out;
}

export class TablePanel {
  readonly element: HTMLElement;
  private readonly head = h("div", { class: "t-head", role: "row", "aria-rowindex": 1 });
  private readonly rowsBox = h("div", { class: "t-rows", role: "rowgroup" });
  private readonly spacer = h("div", { class: "t-spacer", role: "presentation" });
  private readonly scroller: HTMLElement;
  private readonly note = h("span", { class: "quiet" });
  private readonly goTo: HTMLInputElement;
  private sort: Sort = { key: "", down: false };
  private datasets = new Uint8Array(0);
  private datasetIds: number[] = [];
  private slots = new Uint32Array(0);
  private order = new Uint32Array(0);
  private columns: ColumnInfo[] = [];
  private active = 0;
  private shown = false;
  private dirty = true;

  constructor(private readonly store: Store) {
    const body = h("div", { class: "t-body", role: "presentation" }, this.spacer, this.rowsBox);
    this.scroller = h("div", { class: "t-scroll", role: "grid", tabindex: 0, "aria-label": "Rows of the selection" }, this.head, body);
    this.goTo = h("input", { type: "search", placeholder: "Go to id", "aria-label": "Go to example id", inputmode: "numeric" });
    this.goTo.addEventListener("keydown", (event) => { if (event.key === "Enter") void this.find(this.goTo.value.trim()); });
    this.element = h("div", { class: "panel table-panel" }, h("div", { class: "panel-head" }, this.note, this.goTo), this.scroller);
    this.scroller.addEventListener("scroll", onFrame(() => this.draw()), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(onFrame(() => this.draw())).observe(this.scroller);
    store.on(["selection", "mask", "views", "step", "manifest"], () => { this.dirty = true; this.soon(); });
    store.on("sample", onFrame(() => this.draw()));
  }

  show(on: boolean): void { this.shown = on; if (on) this.soon(); }
  private soon = onFrame(() => { if (this.shown && this.dirty) void this.rebuild(); });

  private async rebuild(): Promise<void> {
    this.dirty = false;
    const { store } = this;
    const parts = store.selection.rows();
    await Promise.all(parts.map(({ dataset }) => store.data.loadIds(dataset))).catch((error: unknown) => store.fail(error));
    const n = parts.reduce((sum, part) => sum + part.slots.length, 0);
    this.slots = new Uint32Array(n);
    this.datasets = new Uint8Array(n);
    this.datasetIds = parts.map((part) => part.dataset);
    let k = 0;
    parts.forEach(({ slots }, d) => { this.slots.set(slots, k); this.datasets.fill(d, k, k + slots.length); k += slots.length; });
    this.columns = store.manifest.columns;
    this.active = Math.min(this.active, Math.max(0, n - 1));
    this.note.textContent = `${count(n)} rows${store.selection.chosen > 0 ? " selected" : ""}`;
    this.scroller.setAttribute("aria-rowcount", String(n + 1));
    this.drawHead();
    await this.resort();
  }

  private table(d: number): number | undefined { return this.store.currentTable(this.datasetIds[d]!); }

  private async resort(): Promise<void> {
    const { store, sort } = this;
    const n = this.slots.length;
    if (sort.key === "" ) { this.order = new Uint32Array(n); for (let i = 0; i < n; i++) this.order[i] = i; }
    else {
      const keys = new Uint32Array(n);
      if (sort.key === "#id") {
        const values = new Float32Array(n);
        for (let i = 0; i < n; i++) values[i] = store.data.idOf(this.datasetIds[this.datasets[i]!]!, this.slots[i]!) ?? NaN;
        keys.set(sortableFloat(values));
      } else if (sort.key === "#dataset") keys.set(this.datasets);
      else {
        const info = store.column(sort.key.slice(1));
        if (info === undefined) return;
        const loaded = await Promise.all(this.datasetIds.map((_, d) => store.data.values(info.name, this.table(d)!))).catch((error: unknown) => { store.fail(error); return null; });
        if (loaded === null || n !== this.slots.length) return;
        this.keysOf(keys, info, loaded);
      }
      // Rows without a value stay last in both directions.
      if (sort.down) for (let i = 0; i < n; i++) if (keys[i] !== 0xffffffff) keys[i] = 0xfffffffe - keys[i]!;
      this.order = radixSort(keys);
    }
    const height = Math.min(MOST_HEIGHT, n * ROW);
    this.spacer.style.height = `${height}px`;
    this.draw();
  }

  private keysOf(keys: Uint32Array, info: ColumnInfo, loaded: Column[]): void {
    const n = keys.length;
    if (info.kind === "number") {
      const values = new Float32Array(n);
      for (let i = 0; i < n; i++) values[i] = loaded[this.datasets[i]!]!.floats![this.slots[i]!]!;
      keys.set(sortableFloat(values));
      return;
    }
    // Texts and classes sort by rank of their names.
    const collator = new Intl.Collator(undefined, { numeric: true });
    if (info.kind === "text") {
      const all = [...new Set(loaded.flatMap((c) => c.texts!))].sort((a, b) => (a === null ? 1 : b === null ? -1 : collator.compare(a, b)));
      const rank = new Map(all.map((text, i) => [text, i]));
      for (let i = 0; i < n; i++) keys[i] = rank.get(loaded[this.datasets[i]!]!.texts![this.slots[i]!]!)!;
      return;
    }
    const names = info.classes ?? [];
    const rank = new Uint32Array(names.length);
    names.map((_, i) => i).sort((a, b) => collator.compare(names[a]!, names[b]!)).forEach((at, i) => { rank[at] = i; });
    for (let i = 0; i < n; i++) { const v = loaded[this.datasets[i]!]!.ints![this.slots[i]!]!; keys[i] = v < 0 ? 0xffffffff : rank[v] ?? v; }
  }

  private template(): string {
    const wide = this.columns.map((c) => (c.kind === "category" || c.kind === "text" ? "minmax(96px, 1fr)" : "84px"));
    return [this.images ? "44px" : "", "72px", this.store.manifest.datasets.length > 1 ? "76px" : "", ...wide].join(" ");
  }

  private get images(): boolean { return this.datasetIds.some((d) => hasImages(this.store, d)); }

  private drawHead(): void {
    const cell = (text: string, key: string, number = false) => {
      const sorted = this.sort.key === key;
      const button = h("button", { type: "button", class: "t-sort", dir: "auto", onclick: () => {
        this.sort = sorted ? (this.sort.down ? { key: "", down: false } : { key, down: true }) : { key, down: false };
        this.drawHead();
        this.scroller.scrollTop = 0;
        void this.resort();
      } }, text, h("span", { "aria-hidden": "true" }, sorted ? (this.sort.down ? " ↓" : " ↑") : ""));
      return h("div", { class: number ? "t-cell number" : "t-cell", role: "columnheader", "aria-sort": sorted ? (this.sort.down ? "descending" : "ascending") : "none" }, button);
    };
    const focused = (document.activeElement as HTMLElement | null)?.closest(".t-head") === this.head ? [...this.head.querySelectorAll("button")].indexOf(document.activeElement as HTMLButtonElement) : -1;
    fill(this.head, this.images && h("div", { class: "t-cell", role: "columnheader", "aria-label": "image" }), cell("id", "#id", true), this.store.manifest.datasets.length > 1 && cell("dataset", "#dataset"), ...this.columns.map((c) => cell(c.name, `=${c.name}`, c.kind === "number")));
    this.head.style.gridTemplateColumns = this.template();
    if (focused >= 0) this.head.querySelectorAll("button")[focused]?.focus();
  }

  /** First row in sight; in very long tables the scroll bar is a proportion, not a distance. */
  private first(): number {
    const n = this.order.length, view = this.viewHeight();
    const real = n * ROW;
    if (real <= MOST_HEIGHT) return Math.floor(this.scroller.scrollTop / ROW);
    const share = this.scroller.scrollTop / Math.max(1, MOST_HEIGHT - view);
    return Math.floor(Math.min(1, share) * Math.max(0, n - Math.floor(view / ROW)));
  }

  private viewHeight(): number { return Math.max(ROW, this.scroller.clientHeight - ROW); }

  private draw(): void {
    if (!this.shown) return;
    const { store } = this;
    const first = this.first();
    const last = Math.min(this.order.length, first + Math.ceil(this.viewHeight() / ROW) + 2);
    const template = this.template();
    const rows: HTMLElement[] = [];
    for (let i = first; i < last; i++) {
      const row = this.order[i]!;
      const d = this.datasets[row]!, dataset = this.datasetIds[d]!, slot = this.slots[row]!;
      const table = this.table(d);
      const open = store.sample?.dataset === dataset && store.sample.slot === slot;
      const cells = this.columns.map((info) => {
        const values = table === undefined ? undefined : store.data.valuesNow(info.name, table);
        if (values === undefined && table !== undefined) store.data.values(info.name, table).then(this.redraw, () => undefined);
        return h("div", { class: `t-cell ${info.kind}`, role: "gridcell", dir: "auto" }, showValue(info, values, slot));
      });
      rows.push(h("div", {
        class: `t-row${open ? " open" : ""}${i === this.active ? " active" : ""}`, role: "row", id: `row-${i}`, "aria-rowindex": i + 2, "aria-selected": String(open), style: { gridTemplateColumns: template },
        onclick: () => { this.active = i; this.choose(i); },
        onpointerenter: () => { store.hover = { dataset, slot, view: -1, here: 1 }; store.emit("hover"); }, onpointerleave: () => { store.hover = null; store.emit("hover"); },
      }, this.images && h("div", { class: "t-cell image", role: "gridcell" }, thumb(store, dataset, slot, 30)),
      h("div", { class: "t-cell number", role: "gridcell" }, String(store.data.idOf(dataset, slot) ?? "…")),
      store.manifest.datasets.length > 1 && h("div", { class: "t-cell", role: "gridcell", dir: "auto" }, store.points.get(dataset)!.info.name), ...cells));
    }
    fill(this.rowsBox, ...rows);
    const real = this.order.length * ROW;
    const offset = real <= MOST_HEIGHT ? first * ROW : Math.min(this.scroller.scrollTop, Math.max(0, MOST_HEIGHT - rows.length * ROW));
    this.rowsBox.style.transform = `translateY(${offset}px)`;
    this.scroller.setAttribute("aria-activedescendant", `row-${this.active}`);
  }

  private redraw = onFrame(() => this.draw());

  private choose(i: number): void {
    const row = this.order[i];
    if (row === undefined) return;
    this.store.openSample({ dataset: this.datasetIds[this.datasets[row]!]!, slot: this.slots[row]! });
  }

  private reveal(i: number): void {
    const n = this.order.length, view = this.viewHeight();
    if (n * ROW > MOST_HEIGHT) this.scroller.scrollTop = (i / Math.max(1, n - Math.floor(view / ROW))) * (MOST_HEIGHT - view);
    else if (i * ROW < this.scroller.scrollTop) this.scroller.scrollTop = i * ROW;
    else if ((i + 1) * ROW > this.scroller.scrollTop + view) this.scroller.scrollTop = (i + 1) * ROW - view;
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    if (event.target !== this.scroller) return;
    const page = Math.max(1, Math.floor(this.viewHeight() / ROW) - 1);
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    const move = moves[event.key];
    if (event.key === "Enter") { event.preventDefault(); this.choose(this.active); return; }
    if (move === undefined) return;
    event.preventDefault();
    this.active = Math.min(this.order.length - 1, Math.max(0, this.active + move));
    this.reveal(this.active);
  }

  private async find(text: string): Promise<void> {
    const { store } = this;
    const id = Number(text);
    if (text === "" || !Number.isFinite(id)) { store.tell("An example id is a number."); return; }
    for (const dataset of store.shownDatasets()) {
      await store.data.loadIds(dataset);
      const slot = store.data.slotOf(dataset, id);
      if (slot < 0) continue;
      const ref: Ref = { dataset, slot };
      store.selection.refs([ref], "replace");
      store.openSample(ref);
      return;
    }
    store.tell(`There is no example ${text} in what is shown.`);
  }
}
