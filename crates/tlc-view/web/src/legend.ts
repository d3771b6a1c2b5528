// The legend: what colour means, how many points each class has, and which classes are hidden.
import { fill, h, icon, onFrame, s, select, setPressed } from "./dom";
import { count, number, plural } from "./format";
import { css } from "./palette";
import { columnKey, DATASET_COLOUR, NO_COLOUR, RAMP } from "./scale";
import type { Store } from "./store";

const MOST_ROWS = 150;

interface Row { code: number; root: HTMLElement; toggle: HTMLButtonElement; amount: HTMLElement }

export class Legend {
  readonly element: HTMLElement;
  readonly search: HTMLInputElement;
  private readonly body = h("div", { class: "legend-body" });
  private readonly notes = h("div", { class: "legend-notes" });
  private readonly picker = h("div", { class: "legend-picker" });
  private readonly list = h("div", { class: "legend-list", role: "group", "aria-label": "Classes" });
  private rows: Row[] = [];
  private built = "";

  constructor(private readonly store: Store, private readonly trailNote: () => string) {
    this.search = h("input", { type: "search", placeholder: "Search classes", "aria-label": "Search classes", oninput: () => { this.built = ""; this.render(); } });
    const summary = h("summary", {}, "Colour");
    const narrow = matchMedia("(max-width: 720px)");
    this.element = h("details", { class: "legend card", "aria-label": "Legend" }, summary, this.picker, this.body, this.notes);
    (this.element as HTMLDetailsElement).open = !narrow.matches;
    const soon = onFrame(() => this.render());
    store.on(["colour", "mask", "views", "theme", "options", "manifest", "layout"], soon);
  }

  private get key(): string { return this.store.colour; }

  private renderPicker(): void {
    const { store } = this;
    const kinds = { category: "Classes", boolean: "Classes", number: "Numbers", text: "Text" } as const;
    const columns = store.manifest.columns.map((c) => ({ value: columnKey(c.name), text: c.name, group: c.role !== null ? "Roles" : kinds[c.kind] }))
      .sort((a, b) => (a.group === b.group ? 0 : a.group === "Roles" ? -1 : b.group === "Roles" ? 1 : a.group < b.group ? -1 : 1));
    const more = [{ value: NO_COLOUR, text: "one colour", group: "Other" }];
    if (store.manifest.datasets.length > 1) more.unshift({ value: DATASET_COLOUR, text: "dataset", group: "Other" });
    const wanted = JSON.stringify([columns, more, store.colour]);
    if (this.picker.dataset.of === wanted) return;
    this.picker.dataset.of = wanted;
    const focused = this.picker.contains(document.activeElement);
    const node = select("Colour by", [...columns, ...more], store.colour, (value) => store.setColour(value));
    fill(this.picker, node);
    if (focused) node.focus();
  }

  private counts(): Uint32Array {
    const out = new Uint32Array(this.store.scale.colours.length);
    for (const dataset of this.store.shownDatasets()) {
      const { codes } = this.store.points.get(dataset)!;
      for (let i = 0; i < codes.length; i++) out[codes[i]!]!++;
    }
    return out;
  }

  private render(): void {
    const { store } = this;
    if (store.manifest === undefined) return;
    this.renderPicker();
    const { scale } = store;
    const counts = this.counts();
    if (scale.kind === "number") this.renderRamp(counts);
    else if (scale.kind === "category") this.renderClasses(counts);
    else { fill(this.body); this.built = ""; }
    this.renderNotes();
  }

  private renderClasses(counts: Uint32Array): void {
    const { store } = this;
    const { scale } = store;
    const classes = scale.colours.length - 1;
    const built = `${scale.title} ${classes} ${store.dark} ${counts[0]! > 0} ${this.search.value}`;
    const hidden = store.filters.hidden.get(this.key) ?? new Set<number>();
    if (built !== this.built) {
      this.built = built;
      let codes = Array.from({ length: classes }, (_, i) => i + 1);
      if (classes > 20) codes.sort((a, b) => counts[b]! - counts[a]! || a - b);
      const words = this.search.value.trim().toLowerCase();
      if (words !== "") codes = codes.filter((code) => scale.name(code).toLowerCase().includes(words));
      const shown = codes.slice(0, MOST_ROWS);
      if (counts[0]! > 0 && words === "") shown.push(0);
      this.rows = shown.map((code) => this.row(code));
      const rest = codes.length - Math.min(codes.length, MOST_ROWS);
      fill(this.list, ...this.rows.map((row) => row.root), rest > 0 && h("p", { class: "quiet" }, `${plural(rest, "more class", "more classes")}: search for them above.`), codes.length === 0 && h("p", { class: "quiet" }, "No class of that name."));
      const bar = h("div", { class: "legend-bar" },
        h("button", { type: "button", class: "link", onclick: () => store.filters.setHidden(this.key, null) }, "show all"),
        h("button", { type: "button", class: "link", onclick: () => store.filters.setHidden(this.key, new Set(Array.from({ length: classes + 1 }, (_, i) => i))) }, "hide all"),
        h("span", { class: "quiet" }, plural(classes, "class", "classes")));
      const focused = document.activeElement === this.search;
      fill(this.body, classes > 12 && this.search, this.list, bar);
      if (focused) this.search.focus();
    }
    for (const row of this.rows) {
      setPressed(row.toggle, !hidden.has(row.code));
      row.amount.textContent = count(counts[row.code] ?? 0);
    }
  }

  private row(code: number): Row {
    const { store } = this;
    const name = store.scale.name(code);
    const colour = css(store.scale.colours[code]!);
    const isolate = () => {
      const all = new Set(Array.from({ length: store.scale.colours.length }, (_, i) => i));
      all.delete(code);
      const now = store.filters.hidden.get(this.key);
      // Isolating what is isolated brings the others back.
      store.filters.setHidden(this.key, now !== undefined && now.size === all.size && !now.has(code) ? null : all);
    };
    const flip = (event: MouseEvent) => {
      if (event.altKey) { isolate(); return; }
      const hidden = new Set(store.filters.hidden.get(this.key));
      if (!hidden.delete(code)) hidden.add(code);
      store.filters.setHidden(this.key, hidden);
    };
    const amount = h("span", { class: "amount" });
    const toggle = h("button", { type: "button", class: "legend-toggle", title: `${name}: click hides or shows, Alt-click shows only this`, onclick: flip },
      h("span", { class: "swatch", style: { background: colour } }), h("span", { class: "name", dir: "auto" }, name), amount);
    const only = h("button", { type: "button", class: "only", "aria-label": `Only ${name}`, onclick: isolate }, "only");
    const emphasise = (on: boolean) => { store.highlight = on ? code : null; store.emit("highlight"); };
    const root = h("div", {
      class: "legend-row", onpointerenter: () => emphasise(true), onpointerleave: () => emphasise(false), onfocusin: () => emphasise(true), onfocusout: () => emphasise(false),
    }, toggle, only);
    return { code, root, toggle, amount };
  }

  private renderRamp(counts: Uint32Array): void {
    const { store } = this;
    const { scale } = store;
    this.built = "";
    const bins = 48, heights = new Float64Array(bins);
    for (let code = 1; code <= RAMP; code++) heights[Math.min(bins - 1, Math.floor(((code - 1) / RAMP) * bins))]! += counts[code]!;
    const most = Math.max(1, ...heights);
    const bars = Array.from(heights, (v, i) => {
      const tall = v === 0 ? 0 : Math.max(1.5, 34 * Math.sqrt(v / most));
      const colour = css(scale.colours[1 + Math.round((i / (bins - 1)) * (RAMP - 1))]!);
      return [s("rect", { x: i * 4, y: 36 - tall, width: 3.4, height: tall, fill: colour }), s("rect", { x: i * 4, y: 38, width: 4, height: 6, fill: colour })];
    }).flat();
    const svg = s("svg", { viewBox: `0 0 ${bins * 4} 44`, class: "ramp", role: "img", "aria-label": `Colours from ${number(scale.lo)} to ${number(scale.hi)} with a histogram of ${scale.title}` }, ...bars);
    const whole = store.ranges.get(scale.title);
    const below = whole !== undefined && whole.lo < scale.lo && !scale.diverging ? "≤ " : "", above = whole !== undefined && whole.hi > scale.hi ? "≥ " : "";
    fill(this.body, svg,
      h("div", { class: "ramp-ends" }, h("span", {}, below + number(scale.lo)), scale.diverging && h("span", {}, "0"), h("span", {}, above + number(scale.hi))),
      h("div", { class: "legend-bar" },
        h("button", { type: "button", class: "link", title: "Spread the colours over the values of the epoch shown", onclick: () => store.refitColours(true) }, "fit to this epoch"),
        store.scales.tight && h("button", { type: "button", class: "link", onclick: () => store.refitColours(false) }, "whole range"),
        counts[0]! > 0 && h("span", { class: "quiet" }, h("span", { class: "swatch", style: { background: css(scale.colours[0]!) } }), ` ${plural(counts[0]!, "row")} without a value`)));
  }

  private renderNotes(): void {
    const { store } = this;
    const ood = store.views.some((_, view) => store.layoutOf(view)?.ood);
    // Shapes go round in the order of each map's own datasets.
    const overlaid = store.views.map((_, view) => store.datasetsOf(view)).filter((datasets) => datasets.length > 1);
    const shapes = [...new Set(overlaid.flatMap((datasets) => datasets.map((dataset, order) => `${order % 2} ${store.points.get(dataset)!.info.name}`)))];
    const wanted = JSON.stringify([ood, store.showOod, shapes, store.dark, store.trails && this.trailNote()]);
    if (this.notes.dataset.of === wanted) return;
    this.notes.dataset.of = wanted;
    const glyph = (shape: SVGElement) => s("svg", { viewBox: "0 0 14 14", class: "glyph", "aria-hidden": "true" }, shape);
    const children: (Node | false)[] = [];
    for (const shape of shapes) children.push(h("p", {}, glyph(shape.startsWith("0") ? s("circle", { cx: 7, cy: 7, r: 4.5, class: "solid" }) : s("path", { d: "M7 1.500 12.500 7 7 12.500 1.500 7z", class: "solid" })), h("span", { dir: "auto" }, shape.slice(2))));
    if (ood) {
      const box = h("input", { type: "checkbox", checked: store.showOod, onchange: () => store.option("showOod", box.checked) });
      children.push(h("label", { class: "note", title: "The layout was fitted on other rows. These are further from all of them than 3 × the usual distance, so their place on the map means little." }, box, glyph(s("circle", { cx: 7, cy: 7, r: 4.500, class: "hollow" })), h("span", {}, "hollow = far outside the fit")));
    }
    if (store.trails) children.push(h("p", {}, icon("trails"), h("span", {}, this.trailNote())));
    fill(this.notes, ...children);
  }
}
