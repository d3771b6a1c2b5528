// One sample: its image or text, its values, and its neighbours in embedding space and on the map.
// Also the small card that follows the pointer.
import { ApiError, type ColumnInfo } from "../api";
import { showValue } from "../data";
import { fill, h, iconButton, onFrame } from "../dom";
import { number, plural, value } from "../format";
import type { Stage } from "../stage";
import type { Ref } from "../points";
import type { Store } from "../store";
import { hasImages, thumb } from "../thumbs";

const NEIGHBOURS = 10;
/** Whoever plays the epochs or walks through rows does not wait for each one's neighbours. */
const REST_MS = 300;

/** Values to show first: roles, then the column that gives the colour. */
function keyColumns(store: Store): ColumnInfo[] {
  const roles = (["label", "prediction", "confidence", "loss"] as const).map((role) => store.role(role)).filter((c) => c !== undefined);
  const colour = store.scale.column;
  return colour !== null && !roles.includes(colour) ? [...roles, colour] : roles;
}

function neighboursOnMap(store: Store, ref: Ref): { slot: number; distance: number }[] {
  const view = store.datasetsOf(store.activeView).includes(ref.dataset) ? store.activeView : 0;
  const layout = store.layoutOf(view);
  const table = layout === undefined ? undefined : store.tableAt(layout.id, ref.dataset, store.step);
  const coords = table === undefined ? undefined : store.data.coordsNow(layout!.id, table);
  if (coords === undefined || layout === undefined) return [];
  const { xyzw } = coords;
  const at = 4 * ref.slot;
  if (xyzw[at + 3] === 0) return [];
  const k = [0, 1, 2].map((c) => (c < layout.dims ? (layout.max[c]! - layout.min[c]!) / 65535 : 0));
  const best: { slot: number; distance: number }[] = [];
  let worst = Infinity;
  for (let i = 0; i < coords.n; i++) {
    if (i === ref.slot || xyzw[4 * i + 3] === 0) continue;
    const dx = (xyzw[4 * i]! - xyzw[at]!) * k[0]!, dy = (xyzw[4 * i + 1]! - xyzw[at + 1]!) * k[1]!, dz = (xyzw[4 * i + 2]! - xyzw[at + 2]!) * k[2]!;
    const d = dx * dx + dy * dy + dz * dz;
    if (d >= worst && best.length >= NEIGHBOURS) continue;
    let p = best.length;
    while (p > 0 && best[p - 1]!.distance > d) p--;
    best.splice(p, 0, { slot: i, distance: d });
    if (best.length > NEIGHBOURS) best.pop();
    worst = best[best.length - 1]!.distance;
  }
  return best.map((n) => ({ slot: n.slot, distance: Math.sqrt(n.distance) }));
}

export class SampleCard {
  readonly element = h("section", { class: "sample-card", "aria-label": "Sample", hidden: true });
  private seq = 0;
  /** Stops what the server still does for what was shown before. */
  private stop = new AbortController();

  constructor(private readonly store: Store, private readonly stage: Stage) {
    store.on(["sample", "step", "manifest"], onFrame(() => void this.render()));
  }

  private async render(): Promise<void> {
    const { store } = this;
    const ref = store.sample;
    const mine = ++this.seq;
    this.stop.abort();
    this.stop = new AbortController();
    this.element.hidden = ref === null;
    if (ref === null) { fill(this.element); return; }
    const table = store.currentTable(ref.dataset);
    try {
      await store.data.loadIds(ref.dataset);
    } catch (error) { store.fail(error); return; }
    if (mine !== this.seq || table === undefined) return;
    const id = store.data.idOf(ref.dataset, ref.slot)!;
    const values = h("dl", { class: "values" });
    const text = h("p", { class: "sample-text", dir: "auto", hidden: true });
    const near = h("div", { class: "neighbours" }), nearMap = h("div", { class: "neighbours" });
    const dataset = store.points.get(ref.dataset)!.info;
    const images = hasImages(store, ref.dataset);
    this.element.scrollTop = 0;
    fill(this.element,
      h("div", { class: "panel-head" }, h("h2", {}, `Sample ${id}`, h("span", { class: "quiet", dir: "auto" }, ` ${dataset.name}`)),
        h("div", { class: "panel-actions" },
          iconButton("focus", "Show on the map", () => { store.selection.refs([ref], "replace"); this.stage.focusSelection(); }, "Z"),
          iconButton("close", "Close the sample", () => store.openSample(null)))),
      h("div", { class: "sample-main" }, images && thumb(store, ref.dataset, ref.slot, 112), values), text,
      h("h3", {}, "Nearest in embedding space"), near, h("h3", {}, "Nearest on the map"), nearMap);
    this.valuesInto(values, ref, table, text, id, mine);
    this.list(nearMap, ref, neighboursOnMap(store, ref));
    this.embeddingInto(near, ref, table, id, mine);
  }

  private valuesInto(values: HTMLElement, ref: Ref, table: number, text: HTMLElement, id: number, mine: number): void {
    const { store } = this;
    const label = store.role("label")?.name, prediction = store.role("prediction")?.name;
    const show = (entries: [string, string][]) => {
      const of = (name: string | undefined) => entries.find(([key]) => key === name)?.[1];
      const wrong = label !== undefined && prediction !== undefined && of(label) !== undefined && of(prediction) !== undefined && of(label) !== of(prediction);
      fill(values, ...entries.flatMap(([key, v]) => [h("dt", { dir: "auto" }, key), h("dd", { dir: "auto", class: wrong && key === prediction ? "wrong" : null, title: wrong && key === prediction ? "differs from the label" : null }, v, wrong && key === prediction ? " ≠ label" : null)]));
    };
    const local = () => {
      const entries: [string, string][] = [];
      for (const info of store.manifest.columns) {
        const column = store.data.valuesNow(info.name, table);
        if (column !== undefined) entries.push([info.name, showValue(info, column, ref.slot)]);
      }
      show(entries);
    };
    local();
    if (!store.source.live) {
      for (const info of store.manifest.columns) store.data.values(info.name, table).then(() => { if (mine === this.seq) local(); }, () => undefined);
      return;
    }
    store.source.sample(ref.dataset, id, table, this.stop.signal).then((sample) => {
      if (mine !== this.seq) return;
      // In the order of the columns elsewhere: roles first.
      const rank = new Map(store.manifest.columns.map((c, i) => [c.name, i]));
      const order = (name: string) => rank.get(name) ?? rank.size;
      show(Object.entries(sample.values).filter(([, v]) => sample.text === null || v !== sample.text).sort(([a], [b]) => order(a) - order(b)).map(([key, v]) => [key, value(v)]));
      if (sample.file !== null) values.append(h("dt", {}, "file"), h("dd", { dir: "auto", class: "file" }, sample.file));
      if (sample.text !== null) { text.hidden = false; text.textContent = sample.text; }
    }, (error: unknown) => { if (mine === this.seq) store.fail(error); });
  }

  private embeddingInto(box: HTMLElement, ref: Ref, table: number, id: number, mine: number): void {
    const { store } = this;
    if (!store.source.live) { fill(box, h("p", { class: "quiet" }, "Needs the server: open the run with “tlc view”.")); return; }
    const layout = store.views[store.activeView]?.layout;
    if (layout === undefined) { fill(box, h("p", { class: "quiet" }, "No layout.")); return; }
    fill(box, h("p", { class: "quiet" }, "Searching …"));
    const { signal } = this.stop;
    const rest = new Promise((done) => setTimeout(done, REST_MS));
    rest.then(() => { signal.throwIfAborted(); return store.source.knn(layout, table, id, NEIGHBOURS, signal); }).then((found) => {
      if (mine !== this.seq) return;
      this.list(box, ref, found.neighbours.map((n) => ({ slot: store.data.slotOf(ref.dataset, n.example_id), distance: n.distance })).filter((n) => n.slot >= 0));
      if (found.note !== null) box.append(h("p", { class: "quiet" }, found.note));
    }, (error: unknown) => {
      if (mine === this.seq) fill(box, h("p", { class: "quiet" }, error instanceof ApiError ? `${error.message} ${error.advice}` : String(error)));
    });
  }

  private list(box: HTMLElement, ref: Ref, found: { slot: number; distance: number }[]): void {
    const { store } = this;
    if (found.length === 0) { fill(box, h("p", { class: "quiet" }, "None: it has no position here.")); return; }
    const label = store.role("label") ?? store.scale.column;
    const table = store.currentTable(ref.dataset);
    const images = hasImages(store, ref.dataset);
    const cells = found.map(({ slot, distance }) => {
      const id = store.data.idOf(ref.dataset, slot);
      const named = label === null || label === undefined || table === undefined ? "" : showValue(label, store.data.valuesNow(label.name, table), slot);
      return h("button", {
        type: "button", class: images ? "cell" : "chip-cell", title: `${id}: ${named}, distance ${number(distance)}`, "aria-label": `Sample ${id}, ${named}, distance ${number(distance)}`, onclick: () => store.openSample({ dataset: ref.dataset, slot }),
        onpointerenter: () => { store.hover = { dataset: ref.dataset, slot, view: -1, here: 1 }; store.emit("hover"); }, onpointerleave: () => { store.hover = null; store.emit("hover"); },
      }, images ? thumb(store, ref.dataset, slot, 44) : null, h("span", { class: "cell-name", dir: "auto" }, named || String(id)));
    });
    fill(box, ...cells, h("button", { type: "button", class: "link", onclick: () => store.selection.refs([ref, ...found.map(({ slot }) => ({ dataset: ref.dataset, slot }))], "replace") }, "select these"));
  }
}

/** Follows the pointer over the map. */
export function makeHoverCard(store: Store, stage: Stage): void {
  const card = h("div", { class: "hover-card card", "aria-hidden": "true", hidden: true });
  stage.element.append(card);
  const render = () => {
    const { hover } = store;
    const at = hover === null || hover.view < 0 ? null : stage.where(hover.dataset, hover.slot, hover.view);
    card.hidden = at === null;
    if (hover === null || at === null) return;
    const table = store.currentTable(hover.dataset);
    if (store.data.idOf(hover.dataset, hover.slot) === undefined) void store.data.loadIds(hover.dataset).then(again, () => undefined);
    const lines = keyColumns(store).map((info) => {
      const values = table === undefined ? undefined : store.data.valuesNow(info.name, table);
      const cell = h("dd", { dir: "auto" }, showValue(info, values, hover.slot));
      // Written where it is wanted: what comes next may have taken its place when the card is drawn again.
      if (values === undefined && table !== undefined) store.data.values(info.name, table).then((came) => { cell.textContent = showValue(info, came, hover.slot); if (cell.isConnected) place(at); }, () => undefined);
      return [h("dt", { dir: "auto" }, info.name), cell];
    }).flat();
    fill(card, hasImages(store, hover.dataset) && thumb(store, hover.dataset, hover.slot, 64),
      h("div", {}, h("div", { class: "hover-id" }, `${store.points.get(hover.dataset)!.info.name} ${store.data.idOf(hover.dataset, hover.slot) ?? ""}`), h("dl", {}, ...lines),
        hover.here > 1 && h("p", { class: "quiet" }, `${plural(hover.here, "point")} at this place; click again for the next`)));
    place(at);
  };
  const place = (at: [number, number]) => {
    const box = stage.surface.getBoundingClientRect();
    const w = card.offsetWidth, hh = card.offsetHeight;
    card.style.left = `${at[0] + 18 + w > box.width ? Math.max(4, at[0] - 18 - w) : at[0] + 18}px`;
    card.style.top = `${Math.max(4, Math.min(box.height - hh - 4, at[1] - hh / 2))}px`;
  };
  const again = onFrame(() => { if (store.hover !== null) render(); });
  store.on(["hover", "camera"], render);
}
