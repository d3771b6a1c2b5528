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
const UNSORTED: Sort = { key: "", down: false };

/** Row i is slot `slots[i]` of dataset `datasetIds[datasets[i]]`; `order` has the rows as they are shown. */
interface Rows { slots: Uint32Array; datasets: Uint8Array; datasetIds: number[]; order: Uint32Array }
/** A column of a table, and the cells in sight that wait for it. */
interface Wanted { info: ColumnInfo; table: number; cells: { node: HTMLElement; slot: number; key: string }[] }

const inTurn = (n: number) => { const order = new Uint32Array(n); for (let i = 0; i < n; i++) order[i] = i; return order; };

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
  private sort: Sort = UNSORTED;
  private rows: Rows = { slots: new Uint32Array(0), datasets: new Uint8Array(0), datasetIds: [], order: new Uint32Array(0) };
  private columns: ColumnInfo[] = [];
  private active = 0;
  private shown = false;
  private dirty = true;
  private builds = 0;
  private draws = 0;
  /** Texts of the cells in sight, by slot, table and column. */
  private seen = new Map<string, string>();

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

  /** Rows and their order change together, and only to those that were asked for last. */
  private async rebuild(): Promise<void> {
    const mine = ++this.builds;
    this.dirty = false;
    const { store } = this;
    const parts = store.selection.rows();
    await Promise.all(parts.map(({ dataset }) => store.data.loadIds(dataset))).catch((error: unknown) => store.fail(error));
    if (mine !== this.builds) return;
    const n = parts.reduce((sum, part) => sum + part.slots.length, 0);
    const rows: Rows = { slots: new Uint32Array(n), datasets: new Uint8Array(n), datasetIds: parts.map((part) => part.dataset), order: inTurn(0) };
    let k = 0;
    parts.forEach(({ slots }, d) => { rows.slots.set(slots, k); rows.datasets.fill(d, k, k + slots.length); k += slots.length; });
    const { sort } = this;
    const order = await this.orderOf(rows, sort).catch((error: unknown) => { if (mine === this.builds) store.fail(error); return null; });
    if (mine !== this.builds) return;
    // An arrow beside a name would say that the rows are sorted by it.
    if (order === null) this.sort = UNSORTED;
    this.rows = { ...rows, order: order ?? inTurn(n) };
    this.columns = store.manifest.columns;
    this.seen.clear();
    this.active = Math.min(this.active, Math.max(0, n - 1));
    this.note.textContent = `${count(n)} rows${store.selection.chosen > 0 ? " selected" : ""}`;
    this.scroller.setAttribute("aria-rowcount", String(n + 1));
    this.spacer.style.height = `${Math.min(MOST_HEIGHT, n * ROW)}px`;
    this.drawHead();
    this.draw();
  }

  private async orderOf(rows: Rows, sort: Sort): Promise<Uint32Array | null> {
    const { store } = this;
    const n = rows.slots.length;
    if (sort.key === "") return inTurn(n);
    const keys = new Uint32Array(n);
    if (sort.key === "#id") {
      const values = new Float32Array(n);
      for (let i = 0; i < n; i++) values[i] = store.data.idOf(rows.datasetIds[rows.datasets[i]!]!, rows.slots[i]!) ?? NaN;
      keys.set(sortableFloat(values));
    } else if (sort.key === "#dataset") keys.set(rows.datasets);
    else {
      const info = store.column(sort.key.slice(1));
      if (info === undefined) return null;
      this.keysOf(keys, rows, info, await Promise.all(rows.datasetIds.map((dataset) => store.data.values(info.name, store.currentTable(dataset) ?? -1))));
    }
    // Rows without a value stay last in both directions.
    if (sort.down) for (let i = 0; i < n; i++) if (keys[i] !== 0xffffffff) keys[i] = 0xfffffffe - keys[i]!;
    return radixSort(keys);
  }

  private keysOf(keys: Uint32Array, { datasets, slots }: Rows, info: ColumnInfo, loaded: Column[]): void {
    const n = keys.length;
    if (info.kind === "number") {
      const values = new Float32Array(n);
      for (let i = 0; i < n; i++) values[i] = loaded[datasets[i]!]!.floats![slots[i]!]!;
      keys.set(sortableFloat(values));
      return;
    }
    // Texts and classes sort by rank of their names.
    const collator = new Intl.Collator(undefined, { numeric: true });
    if (info.kind === "text") {
      const all = [...new Set(loaded.flatMap((c) => c.texts!))].sort((a, b) => (a === null ? 1 : b === null ? -1 : collator.compare(a, b)));
      const rank = new Map(all.map((text, i) => [text, i]));
      for (let i = 0; i < n; i++) keys[i] = rank.get(loaded[datasets[i]!]!.texts![slots[i]!]!)!;
      return;
    }
    const names = info.classes ?? [];
    const rank = new Uint32Array(names.length);
    names.map((_, i) => i).sort((a, b) => collator.compare(names[a]!, names[b]!)).forEach((at, i) => { rank[at] = i; });
    for (let i = 0; i < n; i++) { const v = loaded[datasets[i]!]!.ints![slots[i]!]!; keys[i] = v < 0 ? 0xffffffff : rank[v] ?? v; }
  }

  private template(): string {
    const wide = this.columns.map((c) => (c.kind === "category" || c.kind === "text" ? "minmax(96px, 1fr)" : "84px"));
    return [this.images ? "44px" : "", "72px", this.store.manifest.datasets.length > 1 ? "76px" : "", ...wide].join(" ");
  }

  private get images(): boolean { return this.rows.datasetIds.some((d) => hasImages(this.store, d)); }

  private drawHead(): void {
    const cell = (text: string, key: string, number = false) => {
      const sorted = this.sort.key === key;
      const button = h("button", { type: "button", class: "t-sort", dir: "auto", onclick: () => {
        this.sort = sorted ? (this.sort.down ? UNSORTED : { key, down: true }) : { key, down: false };
        this.drawHead();
        this.scroller.scrollTop = 0;
        void this.rebuild();
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
    const n = this.rows.order.length, view = this.viewHeight();
    const real = n * ROW;
    if (real <= MOST_HEIGHT) return Math.floor(this.scroller.scrollTop / ROW);
    const share = this.scroller.scrollTop / Math.max(1, MOST_HEIGHT - view);
    return Math.floor(Math.min(1, share) * Math.max(0, n - Math.floor(view / ROW)));
  }

  private viewHeight(): number { return Math.max(ROW, this.scroller.clientHeight - ROW); }

  private draw(): void {
    if (!this.shown) return;
    const mine = ++this.draws;
    const { store } = this;
    const { order, datasets, datasetIds, slots } = this.rows;
    const first = this.first();
    const last = Math.min(order.length, first + Math.ceil(this.viewHeight() / ROW) + 2);
    const template = this.template();
    const heads = [...this.head.children].slice(-this.columns.length || this.head.children.length) as HTMLElement[];
    const { scrollLeft, clientWidth } = this.scroller;
    // Whatever fits is there for screen readers, too; of more columns than that, only those in sight are fetched.
    const fits = store.fits(this.columns.length);
    const near = heads.map((head) => fits || (head.offsetLeft < scrollLeft + clientWidth && head.offsetLeft + head.offsetWidth > scrollLeft));
    const seen = new Map<string, string>(), wanted = new Map<string, Wanted>();
    const rows: HTMLElement[] = [];
    for (let i = first; i < last; i++) {
      const row = order[i]!;
      const dataset = datasetIds[datasets[row]!]!, slot = slots[row]!;
      const table = store.currentTable(dataset);
      const open = store.sample?.dataset === dataset && store.sample.slot === slot;
      const cells = this.columns.map((info, c) => {
        const values = table === undefined ? undefined : store.data.valuesNow(info.name, table);
        const of = `${table} ${info.name}`, key = `${slot} ${of}`;
        const text = values === undefined ? this.seen.get(key) : showValue(info, values, slot);
        const node = h("div", { class: `t-cell ${info.kind}`, role: "gridcell", dir: "auto" }, text ?? "…");
        if (text !== undefined) seen.set(key, text);
        else if (table !== undefined && near[c]) {
          if (!wanted.has(of)) wanted.set(of, { info, table, cells: [] });
          wanted.get(of)!.cells.push({ node, slot, key });
        }
        return node;
      });
      rows.push(h("div", {
        class: `t-row${open ? " open" : ""}${i === this.active ? " active" : ""}`, role: "row", id: `row-${i}`, "aria-rowindex": i + 2, "aria-selected": String(open), style: { gridTemplateColumns: template },
        onclick: () => { this.active = i; this.choose(i); },
        onpointerenter: () => { store.hover = { dataset, slot, view: -1, here: 1 }; store.emit("hover"); }, onpointerleave: () => { store.hover = null; store.emit("hover"); },
      }, this.images && h("div", { class: "t-cell image", role: "gridcell" }, thumb(store, dataset, slot, 30)),
      h("div", { class: "t-cell number", role: "gridcell" }, String(store.data.idOf(dataset, slot) ?? "…")),
      store.manifest.datasets.length > 1 && h("div", { class: "t-cell", role: "gridcell", dir: "auto" }, store.points.get(dataset)?.info.name ?? ""), ...cells));
    }
    this.seen = seen;
    fill(this.rowsBox, ...rows);
    const real = order.length * ROW;
    const offset = real <= MOST_HEIGHT ? first * ROW : Math.min(this.scroller.scrollTop, Math.max(0, MOST_HEIGHT - rows.length * ROW));
    this.rowsBox.style.transform = `translateY(${offset}px)`;
    this.scroller.setAttribute("aria-activedescendant", `row-${this.active}`);
    void this.complete([...wanted.values()], mine);
  }

  /** Fetches column after column and writes the cells that wait for it. Their texts stay though the column may have to go for the next. */
  private async complete(wanted: Wanted[], mine: number): Promise<void> {
    for (const { info, table, cells } of wanted) {
      const values = await this.store.data.values(info.name, table).catch(() => null);
      if (mine !== this.draws) return;
      if (values === null) continue;
      for (const { node, slot, key } of cells) {
        const text = showValue(info, values, slot);
        node.textContent = text;
        this.seen.set(key, text);
      }
    }
  }

  private choose(i: number): void {
    const row = this.rows.order[i];
    if (row === undefined) return;
    const { datasets, datasetIds, slots } = this.rows;
    this.store.openSample({ dataset: datasetIds[datasets[row]!]!, slot: slots[row]! });
  }

  private reveal(i: number): void {
    const n = this.rows.order.length, view = this.viewHeight();
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
    this.active = Math.min(this.rows.order.length - 1, Math.max(0, this.active + move));
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
