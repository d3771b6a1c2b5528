// The bar on top: run, filters in force, theme, link, help.
import { fill, h, icon, iconButton, onFrame, select } from "./dom";
import { number, plainName } from "./format";
import { DATASET_COLOUR } from "./scale";
import type { Store } from "./store";

export interface Actions { help(): void; share(): void; panel(): void }

export function makeHeader(store: Store, actions: Actions): HTMLElement {
  const title = h("div", { class: "title" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Filters in force" });
  const theme = iconButton("theme", "Theme", () => {
    store.setTheme(store.dark ? "light" : "dark");
    try { localStorage.setItem("tlc-view-theme", store.theme); } catch { /* private mode */ }
  });
  const element = h("header", { class: "top" }, title, chips, h("div", { class: "top-end" },
    iconButton("share", "Copy a link to this view", actions.share), theme, iconButton("help", "Help and keys", actions.help, "?"), iconButton("panel", "Show or hide the panel", actions.panel, "P")));

  const renderTitle = () => {
    const { manifest } = store;
    const live = manifest.status === "running";
    const state = manifest.status === null ? null : h("span", { class: `status ${manifest.status}`, title: live ? "The run is still being written; new epochs appear by themselves." : "" }, manifest.status);
    const runs = manifest.runs.length > 1 && manifest.run !== null && store.source.live
      ? select("Run", manifest.runs.map((run) => ({ value: run, text: run })), manifest.run, (run) => { const url = new URL(location.href); url.searchParams.set("run", run); url.hash = ""; location.assign(url); })
      : h("h1", { dir: "auto", title: manifest.title }, plainName(manifest.title));
    const file = !store.source.live && h("span", { class: "status", title: "A copy in one file: what is in it works without a server." }, "exported file");
    fill(title, h("span", { class: "brand" }, "tlc"), runs, file || state);
    document.title = `${plainName(manifest.title)} · tlc view`;
  };
  const renderChips = () => {
    const list: HTMLElement[] = [];
    const chip = (text: string, clear: () => void) => list.push(h("span", { class: "chip" }, h("span", { dir: "auto" }, text), h("button", { type: "button", "aria-label": `Remove the filter ${text}`, onclick: clear }, icon("close"))));
    for (const [key, codes] of store.filters.hidden) {
      const classes = key === DATASET_COLOUR ? store.manifest.datasets.map((d) => d.name) : store.column(key.slice(1))?.classes ?? null;
      const left = classes === null || codes.size < classes.length ? [] : classes.filter((_, i) => !codes.has(i + 1));
      chip(`${key === DATASET_COLOUR ? "dataset" : key.slice(1)}: ${left.length === 1 ? `only ${left[0]}` : `${codes.size} hidden`}`, () => store.filters.setHidden(key, null));
    }
    for (const [name, range] of store.filters.ranges) {
      const lo = Number.isFinite(range.lo), hi = Number.isFinite(range.hi);
      chip(lo && hi ? `${name} ${number(range.lo)} … ${number(range.hi)}` : lo ? `${name} ≥ ${number(range.lo)}` : `${name} ≤ ${number(range.hi)}`, () => store.filters.setRange(name, null));
    }
    if (store.filters.onlyWrong) chip("only misclassified", () => store.filters.setOnlyWrong(false));
    if (list.length > 1) list.push(h("button", { type: "button", class: "link", onclick: () => store.filters.clear() }, "clear all"));
    fill(chips, ...list);
  };
  store.on(["manifest", "layout"], onFrame(renderTitle));
  store.on("mask", renderChips);
  renderTitle();
  return element;
}
