// The numbers of the run: means per epoch, drift between epochs, quality of the layouts, lineage.
import { ApiError, type Numbers } from "../api";
import { fill, h, s } from "../dom";
import { number, value } from "../format";
import { categorical, css } from "../palette";
import { layoutOptions } from "../layoutnames";
import type { Store } from "../store";

/** What people look at first comes first. */
const FIRST = ["correct", "loss"];

interface Series { name: string; colour: string; points: [number, number][] }
/** `mark` shows which epoch is on the map. */
interface Chart { element: HTMLElement; mark: (epoch: number | null) => void }

function lineChart(title: string, series: Series[], onPick: (x: number) => void, told: (y: number) => string = number): Chart {
  const width = 320, height = 120, left = 40, right = 8, top = 8, bottom = 20;
  const all = series.flatMap((line) => line.points);
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const x0 = Math.min(...xs), x1 = Math.max(...xs), y1 = Math.max(...ys), y0 = Math.min(0, ...ys);
  const px = (x: number) => left + ((width - left - right) * (x - x0)) / (x1 - x0 || 1);
  const py = (y: number) => height - bottom - ((height - top - bottom) * (y - y0)) / (y1 - y0 || 1);
  const marks = series.flatMap((line) => [
    s("polyline", { points: line.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" "), class: "line", stroke: line.colour }),
    ...line.points.map(([x, y]) => {
      const dot = s("circle", { cx: px(x), cy: py(y), r: 3.5, fill: line.colour, class: "dot" }, s("title", {}, `${line.name}, epoch ${x}: ${told(y)}`));
      dot.addEventListener("click", () => onPick(x));
      return dot;
    }),
  ]);
  const grid = [y0, (y0 + y1) / 2, y1].flatMap((y) => [s("line", { x1: left, x2: width - right, y1: py(y), y2: py(y), class: "grid" }), s("text", { x: left - 6, y: py(y) + 3.5, class: "axis", "text-anchor": "end" }, told(y))]);
  const at = s("line", { y1: top, y2: height - bottom, class: "now" });
  const ends = [...new Set([x0, x1])].map((x) => s("text", { x: px(x), y: height - 5, class: "axis", "text-anchor": x === x0 && x0 !== x1 ? "start" : "end" }, `epoch ${x}`));
  const inWords = series.map((line) => `${line.name}: ${line.points.map(([x, y]) => `epoch ${x} ${told(y)}`).join(", ")}`).join(". ");
  const element = h("figure", { class: "column-card chart" },
    h("figcaption", { class: "column-head" }, h("span", { class: "column-name", dir: "auto" }, title), h("span", { class: "quiet" }, ...series.map((line) => h("span", { class: "key" }, h("span", { class: "swatch", style: { background: line.colour } }), h("span", { dir: "auto" }, line.name))))),
    s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${inWords}` }, ...grid, at, ...ends, ...marks));
  const mark = (now: number | null) => {
    const seen = now !== null && now >= x0 && now <= x1;
    at.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) { at.setAttribute("x1", String(px(now))); at.setAttribute("x2", String(px(now))); }
  };
  return { element, mark };
}

export class NumbersPanel {
  readonly element = h("div", { class: "panel" });
  private readonly measured = h("div", { class: "measured" });
  private loaded = false;
  private shown = false;
  private charts: Chart[] = [];
  private seq = 0;

  constructor(private readonly store: Store) {
    store.on(["step", "views", "manifest"], () => { this.seq++; this.offer(); });
    store.on("step", () => this.mark());
    store.on("manifest", () => { this.loaded = false; if (this.shown) void this.load(); });
    this.offer();
  }

  show(on: boolean): void { this.shown = on; if (on && !this.loaded) void this.load(); }

  private mark(): void { for (const chart of this.charts) chart.mark(this.store.steps[this.store.step]?.epoch ?? null); }

  private async load(): Promise<void> {
    this.loaded = true;
    fill(this.element, h("p", { class: "quiet" }, "Reading …"));
    try {
      this.render(await this.store.source.numbers());
    } catch (error) {
      this.loaded = false;
      fill(this.element, h("p", { class: "bad" }, error instanceof ApiError ? `${error.message} ${error.advice}` : String(error)));
    }
  }

  private render(numbers: Numbers): void {
    const { store } = this;
    const datasets = store.manifest.datasets;
    const colours = categorical(Math.max(2, datasets.length)).map(css);
    const pick = (epoch: number) => { const i = store.steps.findIndex((step) => step.epoch === epoch); if (i >= 0) store.setTime(i); };
    const series = (points: (dataset: number) => [number, number][]) => datasets.map((d, i): Series => ({ name: d.name, colour: colours[i % colours.length]!, points: points(d.id).sort((a, b) => a[0] - b[0]) })).filter((line) => line.points.length > 0);

    const rank = (key: string) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
    const keys = [...new Set(numbers.epochs.flatMap((e) => Object.keys(e.means)))].sort((a, b) => rank(a) - rank(b));
    const charts = keys.map((key) => {
      const lines = series((d) => numbers.epochs.filter((e) => e.dataset === d && e.epoch !== null && typeof e.means[key] === "number").map((e) => [e.epoch!, e.means[key]!]));
      return lines.length === 0 ? null : lineChart(key === "correct" ? "accuracy" : `mean ${key}`, lines, pick);
    });
    const still = numbers.epochs.filter((e) => e.epoch === null);
    const titles = new Map(layoutOptions(store).map(({ value, text }) => [value, text]));
    const drifts = store.manifest.layouts.map((layout) => {
      const lines = series((d) => numbers.drift.filter((x) => x.layout === layout.id && x.dataset === d).flatMap((x) => {
        const epoch = store.table(x.to)?.epoch ?? null;
        return epoch === null ? [] : [[epoch, x.share] as [number, number]];
      }));
      return lines.length === 0 ? null : lineChart(titles.get(layout.id) ?? layout.name, lines, pick, (share) => `${number(100 * share)} %`);
    });
    this.charts = [...charts, ...drifts].filter((chart) => chart !== null);
    this.mark();
    fill(this.element,
      h("div", { class: "panel-head" }, h("h2", {}, "Per epoch")), ...charts.map((chart) => chart?.element),
      charts.every((c) => c === null) && h("p", { class: "quiet" }, "There are no metrics per epoch."),
      ...still.map((e) => h("p", { class: "quiet" }, `${store.table(e.table)?.name ?? "table"}: ${Object.entries(e.means).map(([k, v]) => `mean ${k} ${number(v)}`).join(", ")}`)),
      drifts.some((d) => d !== null) && h("div", { class: "panel-head" }, h("h2", {}, "Drift"), h("p", { class: "quiet" }, "How far samples move on the map from the epoch before: the straight way of the middle one (the median over samples that are in both), as a share of the map's diagonal. 100 % is from corner to corner of the box around all epochs. It says nothing of distances between embeddings.")), ...drifts.map((chart) => chart?.element),
      h("div", { class: "panel-head" }, h("h2", {}, "Quality of the layout shown"), h("p", { class: "quiet" }, "Whether what is near on the map is near in the embeddings too, measured by the server on the epoch shown.")),
      this.measured, numbers.quality.length > 0 && this.quality(numbers),
      numbers.lineage.length > 0 && h("div", { class: "panel-head" }, h("h2", {}, "Lineage")),
      ...numbers.lineage.map((l, i) => h("details", { open: i === 0 }, h("summary", { dir: "auto" }, store.table(l.table)?.name ?? `table ${l.table}`), h("pre", { class: "lineage", dir: "auto" }, l.text))));
  }

  /** Measuring takes seconds, so it waits for a click. */
  private offer(): void {
    fill(this.measured, h("button", { type: "button", class: "text-button", onclick: () => void this.measure() }, "Measure"));
  }

  private async measure(): Promise<void> {
    const { store } = this;
    const mine = ++this.seq;
    const view = store.views[store.activeView];
    if (view === undefined) { fill(this.measured, h("p", { class: "quiet" }, "There is no layout to measure.")); return; }
    fill(this.measured, h("p", { class: "quiet", role: "status" }, "Measuring …"));
    try {
      const reports: Node[] = [];
      const notes = new Set<string>();
      for (const dataset of store.datasetsOf(store.activeView)) {
        const table = store.tableAt(view.layout, dataset, store.step);
        if (table === undefined) continue;
        const report = await store.source.quality(view.layout, table);
        if (mine !== this.seq) return;
        reports.push(h("table", {}, h("caption", { dir: "auto" }, store.table(table)?.name ?? `table ${table}`),
          h("tbody", {}, ...report.lines.map((line) => h("tr", { title: `of ${line.of}` }, h("th", { scope: "row", dir: "auto" }, line.name),
            h("td", {}, number(line.value), line.standard_error !== null && h("span", { class: "quiet" }, ` ± ${number(line.standard_error)}`)))))));
        if (report.note !== null) notes.add(report.note);
      }
      fill(this.measured, h("div", { class: "quality", tabindex: 0, role: "region", "aria-label": "Quality of the layout shown" }, ...reports), ...[...notes].map((note) => h("p", { class: "quiet", dir: "auto" }, note)));
    } catch (error) {
      if (mine !== this.seq) return;
      fill(this.measured, h("p", { class: "quiet" }, error instanceof ApiError ? `${error.message} ${error.advice}` : String(error)));
    }
  }

  private quality(numbers: Numbers): HTMLElement {
    const { store } = this;
    const keys = [...new Set(numbers.quality.flatMap((q) => Object.keys(q.report)))];
    const titles = new Map(layoutOptions(store).map(({ value, text }) => [value, text]));
    const name = (layout: number, table: number) => `${titles.get(layout) ?? layout} · ${store.table(table)?.name ?? table}`;
    return h("div", { class: "quality", tabindex: 0, role: "region", "aria-label": "Quality of the layouts" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "layout · table"), ...keys.map((key) => h("th", { scope: "col", dir: "auto" }, key.replaceAll("_", " "))))),
      h("tbody", {}, ...numbers.quality.map((q) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, name(q.layout, q.table)), ...keys.map((key) => h("td", {}, value(q.report[key])))))))); 
  }
}
