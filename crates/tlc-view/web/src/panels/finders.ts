// "Find what matters": one button per finder; each list says its rule and leads to its points.
import { ApiError, type FinderInfo, type Found } from "../api";
import { showValue } from "../data";
import { fill, h, icon, iconButton, select } from "../dom";
import { number, plural } from "../format";
import type { Stage } from "../stage";
import type { Ref } from "../points";
import type { Store } from "../store";
import { hasImages, thumb } from "../thumbs";

const LIMIT = 200;

/** Arrow keys walk through the rows of a list. */
function walk(event: KeyboardEvent): void {
  const move = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (move === 0) return;
  const rows = [...(event.currentTarget as HTMLElement).querySelectorAll("button")];
  const next = rows[rows.indexOf(document.activeElement as HTMLButtonElement) + move];
  event.preventDefault();
  next?.focus();
}

export class FindersPanel {
  readonly element: HTMLElement;
  private readonly buttons = h("div", { class: "finders" });
  private readonly result = h("div");
  /** Said aloud; whoever listens to a list of two hundred rows reads it row by row. */
  private readonly said = h("p", { class: "aloud", role: "status" });
  private current: FinderInfo | null = null;
  private seq = 0;

  constructor(private readonly store: Store, private readonly stage: Stage) {
    this.element = h("div", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Find what matters")), this.buttons, this.said, this.result);
    store.on("manifest", () => this.renderButtons());
    store.on(["step", "views"], () => { this.seq++; if (this.current !== null) fill(this.result, this.say("The epoch or the layout has changed. "), h("button", { type: "button", class: "link", onclick: () => void this.run(this.current!) }, "Find again")); });
  }

  show(on: boolean): void { if (on) this.renderButtons(); }

  private renderButtons(): void {
    const { finders } = this.store.manifest;
    const epochs = this.store.steps.length > 1;
    const usable = (finder: FinderInfo) => !finder.needs_epochs || epochs;
    // Once a list is shown the buttons make room for it.
    if (this.current !== null) {
      const focused = this.buttons.contains(document.activeElement);
      const picker = select("What to find", finders.filter(usable).map(({ id, title }) => ({ value: id, text: title })), this.current.id, (id) => void this.run(finders.find((finder) => finder.id === id)!));
      fill(this.buttons, h("div", { class: "finder-picker" }, picker, iconButton("close", "Back to all lists", () => { this.seq++; this.current = null; this.said.textContent = ""; fill(this.result); this.renderButtons(); })));
      if (focused) picker.focus();
      return;
    }
    fill(this.buttons, ...finders.map((finder) => h("button", {
      type: "button", class: "finder", disabled: !usable(finder), onclick: () => void this.run(finder),
    }, h("span", { class: "finder-title" }, icon("search"), finder.title), h("span", { class: "quiet" }, usable(finder) ? finder.rule : `${finder.rule} Needs several epochs.`))),
    finders.length === 0 && h("p", { class: "quiet" }, "There are no finders for this data: they need a layout."));
  }

  async run(finder: FinderInfo): Promise<void> {
    const { store } = this;
    const mine = ++this.seq;
    this.current = finder;
    this.renderButtons();
    const view = store.views[store.activeView];
    if (view === undefined) { fill(this.result, this.say("There is no layout to look in.")); return; }
    fill(this.result, this.say("Looking …"));
    const parts: { dataset: number; found: Found }[] = [];
    try {
      for (const dataset of store.datasetsOf(store.activeView)) {
        const table = store.tableAt(view.layout, dataset, store.step);
        if (table === undefined) continue;
        await store.data.loadIds(dataset);
        parts.push({ dataset, found: await store.source.find(finder.id, view.layout, table, LIMIT) });
      }
    } catch (error) {
      if (mine === this.seq) fill(this.result, h("p", { class: "bad", role: "alert" }, error instanceof ApiError ? `${error.message} ${error.advice}` : String(error)));
      return;
    }
    if (mine === this.seq) this.list(parts);
  }

  private say(text: string): HTMLElement {
    this.said.textContent = text;
    return h("p", { class: "quiet" }, text);
  }

  private list(parts: { dataset: number; found: Found }[]): void {
    const { store } = this;
    const rows = parts.flatMap(({ dataset, found }) => found.rows.map((row) => ({ ...row, ref: { dataset, slot: store.data.slotOf(dataset, row.example_id) } as Ref })))
      .filter((row) => row.ref.slot >= 0).sort((a, b) => b.score - a.score);
    const first = parts[0]?.found;
    this.say(plural(rows.length, "row"));
    const several = parts.length > 1;
    const goTo = (refs: Ref[]) => { store.selection.refs(refs, "replace"); this.stage.focusSelection(); };
    const label = store.role("label");
    fill(this.result,
      h("div", { class: "found-head" }, h("div", {}, h("h3", {}, plural(rows.length, "row")), h("p", { class: "quiet" }, first?.rule ?? "")),
        rows.length > 0 && h("button", { type: "button", class: "text-button primary", onclick: () => { store.selection.refs(rows.map((row) => row.ref), "replace"); } }, "Select all")),
      rows.length === 0 && h("p", { class: "quiet" }, "Nothing found. That is good news as a rule."),
      h("div", { class: "found", role: "list", onkeydown: walk }, ...rows.map((row) => {
        const table = store.currentTable(row.ref.dataset);
        const named = label === undefined || table === undefined ? "" : showValue(label, store.data.valuesNow(label.name, table), row.ref.slot);
        return h("div", { role: "listitem" }, h("button", {
          type: "button", class: "found-row", onclick: () => { store.openSample(row.ref); goTo([row.ref]); },
          onpointerenter: () => { store.hover = { ...row.ref, view: -1, here: 1 }; store.emit("hover"); }, onpointerleave: () => { store.hover = null; store.emit("hover"); },
        }, hasImages(store, row.ref.dataset) && thumb(store, row.ref.dataset, row.ref.slot, 40),
        h("span", { class: "found-text" }, h("span", {}, h("b", {}, String(row.example_id)), several && h("span", { class: "quiet", dir: "auto" }, ` ${store.points.get(row.ref.dataset)!.info.name}`), named !== "" && named !== "…" && h("span", { class: "quiet", dir: "auto" }, ` ${named}`)), h("span", { class: "quiet", dir: "auto" }, row.why)),
        h("span", { class: "found-score" }, number(row.score))));
      })));
  }
}
