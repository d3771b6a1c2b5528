// What is selected (or visible): images, class counts, histograms with range filters, and ways to take it away.
import type { ColumnInfo } from "../api";
import type { Column } from "../arrow";
import { fill, h, iconButton, onFrame } from "../dom";
import { className, count, percent, plural } from "../format";
import { css } from "../palette";
import type { Ref } from "../points";
import { columnKey } from "../scale";
import type { Store } from "../store";
import { hasThumb, thumb } from "../thumbs";
import { makeTakeAway } from "./export";
import { Histogram } from "./histogram";

const FIRST_CLASSES = 10;

interface Part { dataset: number; slots: Uint32Array }
interface ClassCard { info: ColumnInfo; element: HTMLElement }

export class SelectionPanel {
  readonly element: HTMLElement;
  private readonly head = h("div", { class: "panel-head" });
  private readonly gallery = h("div", { class: "gallery" });
  private readonly classes = h("div");
  private readonly histograms = h("div");
  private charts: Histogram[] = [];
  private cards: ClassCard[] = [];
  private seq = 0;
  private galleryOf = "";
  private more = 1;
  private wide = new Set<string>();
  private shown = false;

  private readonly takeAway: HTMLElement;

  constructor(private readonly store: Store) {
    this.takeAway = makeTakeAway(store);
    this.element = h("div", { class: "panel" }, this.head, this.gallery, this.takeAway, this.classes, this.histograms);
    store.on(["selection", "mask", "step", "views", "manifest", "colour", "ranges"], this.soon);
    store.on("manifest", () => { this.charts = []; this.cards = []; });
  }

  show(on: boolean): void { this.shown = on; if (on) this.soon(); }

  private soon = onFrame(() => { if (this.shown) this.render(); });

  private render(): void {
    const { store } = this;
    const rows = store.selection.rows();
    const total = rows.reduce((sum, part) => sum + part.slots.length, 0);
    const selected = store.selection.chosen > 0;
    fill(this.head,
      h("h2", {}, selected ? `${count(total)} selected` : total < store.selection.shown ? `${count(total)} of ${plural(store.selection.shown, "row")} pass the filters` : total === 0 ? "No rows" : `All ${plural(total, "row")}`),
      h("div", { class: "panel-actions" },
        iconButton("invert", "Invert the selection", () => store.selection.invert(), "I"),
        selected && iconButton("close", "Clear the selection", () => store.selection.clear(), "Esc")));
    if (!selected) this.head.append(h("p", { class: "quiet" }, store.selection.shown === 0 ? "There are no rows here." : total === 0 ? "Nothing passes the filters. Remove some of them above the map." : store.views.length === 0 ? "Without a map nothing can be selected there yet; the table has the same rows." : "Draw a lasso (E) or a box (B), or click a point; here you see what is in it."));
    this.takeAway.hidden = total === 0;
    this.renderGallery(rows, total, selected);
    if (this.cards.length === 0) {
      this.cards = store.manifest.columns.filter((c) => c.kind === "category" || c.kind === "boolean").slice(0, 12).map((info) => ({ info, element: h("div", { class: "column-card", hidden: true }) }));
      fill(this.classes, ...this.cards.map(({ element }) => element));
    }
    if (this.charts.length === 0) {
      this.charts = store.manifest.columns.filter((c) => c.kind === "number" && c.role !== "epoch").slice(0, 24).map((info) => new Histogram(store, info));
      fill(this.histograms, ...this.charts.map((chart) => chart.element));
    }
    void this.count(rows, total);
  }

  /** Column by column, and of each only the counts are kept: together they may be more than what is kept of columns at all. */
  private async count(rows: Part[], total: number): Promise<void> {
    const mine = ++this.seq;
    const each = [...this.cards.map(({ info, element }) => [info, (columns: Map<number, Column>) => this.fillCard(element, info, columns, rows, total)] as const),
      ...this.charts.map((chart) => [chart.info, (columns: Map<number, Column>) => chart.update(rows, columns)] as const)];
    // Few enough are asked for together.
    if (this.store.fits(each.length)) for (const [info] of each) void this.valuesOf(info);
    for (const [info, draw] of each) {
      const columns = await this.valuesOf(info);
      if (mine !== this.seq || !this.shown) return;
      draw(columns);
    }
  }

  /** By dataset; what cannot be had is left out. */
  private async valuesOf(info: ColumnInfo): Promise<Map<number, Column>> {
    const { store } = this;
    const out = new Map<number, Column>();
    for (const dataset of store.shownDatasets()) {
      const table = store.currentTable(dataset);
      if (table !== undefined) await store.data.values(info.name, table).then((values) => out.set(dataset, values), () => undefined);
    }
    return out;
  }

  private renderGallery(rows: Part[], total: number, selected: boolean): void {
    const { store } = this;
    const limit = selected ? 48 * this.more : 16;
    const refs: Ref[] = [];
    const shown = store.source.live ? rows : rows.map(({ dataset, slots }) => ({ dataset, slots: slots.filter((slot) => hasThumb(store, dataset, slot)) }));
    const stride = selected ? 1 : Math.max(1, Math.floor(shown.reduce((sum, { slots }) => sum + slots.length, 0) / limit));
    let i = 0;
    for (const { dataset, slots } of shown) for (const slot of slots) if (i++ % stride === 0 && refs.length < limit) refs.push({ dataset, slot });
    const wanted = refs.map((r) => `${r.dataset}.${r.slot}`).join() + shown.map(({ dataset }) => store.datasetKey(dataset)).join();
    if (wanted === this.galleryOf) return;
    this.galleryOf = wanted;
    const images = refs.filter((ref) => hasThumb(store, ref.dataset, ref.slot));
    const texts = refs.filter((ref) => store.source.live && store.points.get(ref.dataset)!.info.text).slice(0, selected ? 30 : 6);
    const cell = (ref: Ref) => h("button", {
      type: "button", class: "cell", "aria-label": `Sample ${store.data.idOf(ref.dataset, ref.slot) ?? ref.slot}`, onclick: () => store.openSample(ref),
      onpointerenter: () => { store.hover = { ...ref, view: -1, here: 1 }; store.emit("hover"); }, onpointerleave: () => { store.hover = null; store.emit("hover"); },
    }, thumb(store, ref.dataset, ref.slot, 40));
    const line = (ref: Ref) => {
      const button = h("button", { type: "button", class: "text-cell", dir: "auto", onclick: () => store.openSample(ref) }, "…");
      const table = store.currentTable(ref.dataset);
      void store.data.loadIds(ref.dataset).then(async () => {
        const sample = table === undefined ? null : await store.source.sample(ref.dataset, store.data.idOf(ref.dataset, ref.slot)!, table);
        button.textContent = sample?.text?.trim() ? sample.text : "(no text)";
      }).catch(() => { button.textContent = "(no text)"; });
      return button;
    };
    fill(this.gallery, ...images.map(cell), ...texts.map(line),
      selected && refs.length === limit && total > limit && images.length > 0 && h("button", { type: "button", class: "link more", onclick: () => { this.more++; this.soon(); } }, `${count(total - limit)} more`));
    if (!selected) this.more = 1;
  }

  private fillCard(element: HTMLElement, info: ColumnInfo, columns: Map<number, Column>, rows: Part[], total: number): void {
    const { store } = this;
    const counts = new Map<number, number>();
    for (const { dataset, slots } of rows) {
      const ints = columns.get(dataset)?.ints;
      if (!ints) continue;
      const dense = new Uint32Array(Math.max(3, (info.classes?.length ?? 65_536) + 1));
      for (let i = 0; i < slots.length; i++) dense[ints[slots[i]!]! + 1]!++;
      dense.forEach((n, code) => { if (n > 0) counts.set(code, (counts.get(code) ?? 0) + n); });
    }
    element.hidden = counts.size === 0;
    if (counts.size === 0) return;
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const shown = this.wide.has(info.name) ? sorted.slice(0, 300) : sorted.slice(0, FIRST_CLASSES);
    const most = sorted[0]![1];
    const coloured = store.colour === columnKey(info.name) || (info.role === "prediction" && store.role("label") !== undefined && store.colour === columnKey(store.role("label")!.name));
    const name = (code: number) => (info.kind === "boolean" ? ["no value", "no", "yes"][code] ?? "" : className(info.classes, code - 1));
    const keep = async (code: number) => {
      const refs: Ref[] = [];
      const now = await this.valuesOf(info);
      for (const { dataset, slots } of store.selection.rows()) {
        const ints = now.get(dataset)?.ints;
        if (ints) for (const slot of slots) if (ints[slot] === code - 1) refs.push({ dataset, slot });
      }
      store.selection.refs(refs, "replace");
    };
    fill(element,
      h("div", { class: "column-head" }, h("span", { class: "column-name", dir: "auto" }, info.name), h("span", { class: "quiet" }, plural(counts.size, "value"))),
      ...shown.map(([code, n]) => h("button", { type: "button", class: "bar-row", title: "Keep only these in the selection", onclick: () => void keep(code) },
        h("span", { class: "bar-name", dir: "auto" }, name(code)),
        h("span", { class: "bar" }, h("span", { style: { width: `${(100 * n) / most}%`, background: coloured ? css(store.scale.colours[code] ?? store.scale.colours[0]!) : "" } })),
        h("span", { class: "bar-amount" }, `${count(n)} · ${percent(n, total)}`))),
      sorted.length > FIRST_CLASSES && h("button", { type: "button", class: "link", onclick: () => { if (!this.wide.delete(info.name)) this.wide.add(info.name); this.soon(); } }, this.wide.has(info.name) ? "fewer" : `${sorted.length - FIRST_CLASSES} more`));
  }
}
