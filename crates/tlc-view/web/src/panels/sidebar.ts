// The panel beside the map (a drawer in narrow windows): the open sample on top, and four tabs.
import { h, setPressed } from "../dom";
import type { Stage } from "../stage";
import type { Store } from "../store";
import { FindersPanel } from "./finders";
import { NumbersPanel } from "./numbers";
import { SampleCard } from "./sample";
import { SelectionPanel } from "./selection";
import { TablePanel } from "./table";

const START_WIDTH = 384, LEAST_WIDTH = 320, LEAST_MAP = 360;

export class Sidebar {
  readonly element: HTMLElement;
  readonly names = ["Selection", "Table", "Find", "Numbers"] as const;
  private readonly tabs: HTMLButtonElement[];
  private readonly panels: { element: HTMLElement; show(on: boolean): void }[];
  private current = 0;
  open = !matchMedia("(max-width: 900px)").matches;

  constructor(private readonly store: Store, private readonly stage: Stage) {
    this.panels = [new SelectionPanel(store), new TablePanel(store), new FindersPanel(store, stage), new NumbersPanel(store)];
    this.tabs = this.names.map((name, i) => h("button", { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": `panel-${i}`, onclick: () => this.show(i) }, name));
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Panels" }, ...this.tabs);
    list.addEventListener("keydown", (event) => {
      const move = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      if (move === 0) return;
      event.preventDefault();
      this.show((this.current + move + 4) % 4);
      this.tabs[this.current]!.focus();
    });
    const card = new SampleCard(store, stage);
    this.panels.forEach((panel, i) => {
      panel.element.id = `panel-${i}`;
      panel.element.setAttribute("role", "tabpanel");
      panel.element.setAttribute("aria-labelledby", `tab-${i}`);
    });
    const close = h("button", { type: "button", class: "drawer-handle", "aria-label": "Close the panel", onclick: () => this.toggle(false) });
    this.element = h("aside", { class: "sidebar", "aria-label": "Panel" }, this.resizer(), close, list, h("div", { class: "sidebar-body" }, card.element, ...this.panels.map((panel) => panel.element)));
    const drawer = matchMedia("(max-width: 900px)");
    stage.covered = () => (this.open && drawer.matches ? this.element.offsetHeight : 0);
    // What panels ask for comes after the places: the map first.
    store.on("drawn", () => this.showCurrent());
    store.on("sample", () => { if (store.sample !== null && !this.open) this.toggle(true); });
    this.show(0);
    this.toggle(this.open);
  }

  /** A wide table wants a wide panel: drag its edge, or use the arrow keys on it. */
  private resizer(): HTMLElement {
    const edge = h("div", { class: "resizer", role: "separator", tabindex: 0, "aria-orientation": "vertical", "aria-label": "Width of the panel", "aria-valuemin": LEAST_WIDTH });
    const set = (width: number) => {
      const most = Math.max(LEAST_WIDTH, innerWidth - LEAST_MAP);
      const now = Math.round(Math.min(most, Math.max(LEAST_WIDTH, width)));
      this.element.style.setProperty("--width", `${now}px`);
      edge.setAttribute("aria-valuenow", String(now));
      edge.setAttribute("aria-valuemax", String(most));
    };
    const width = () => this.element.getBoundingClientRect().width;
    edge.addEventListener("pointerdown", (event) => { event.preventDefault(); edge.setPointerCapture(event.pointerId); });
    edge.addEventListener("pointermove", (event) => { if (edge.hasPointerCapture(event.pointerId)) set(innerWidth - event.clientX); });
    edge.addEventListener("keydown", (event) => {
      const move = event.key === "ArrowLeft" ? 32 : event.key === "ArrowRight" ? -32 : 0;
      if (move === 0) return;
      event.preventDefault();
      set(width() + move);
    });
    edge.addEventListener("dblclick", () => set(START_WIDTH));
    edge.setAttribute("aria-valuenow", String(START_WIDTH));
    return edge;
  }

  show(i: number): void {
    this.current = i;
    this.tabs.forEach((tab, k) => {
      tab.setAttribute("aria-selected", String(k === i));
      tab.tabIndex = k === i ? 0 : -1;
      this.panels[k]!.element.hidden = k !== i;
      if (k !== i) this.panels[k]!.show(false);
    });
    this.showCurrent();
  }

  private showCurrent(): void { this.panels[this.current]!.show(this.open && this.store.drawn); }

  toggle(on = !this.open): void {
    this.open = on;
    this.element.hidden = !on;
    const button = document.querySelector('[aria-label="Show or hide the panel"]');
    if (button !== null) setPressed(button, on);
    this.showCurrent();
    this.store.emit("layout");
    this.stage.resize();
  }
}
