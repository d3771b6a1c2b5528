// All keys of the page in one list, which is also what the help shows.
import type { Sidebar } from "./panels/sidebar";
import { columnKey } from "./scale";
import { MODES } from "./selection";
import type { Stage } from "./stage";
import type { Ghost, Store } from "./store";
import type { Timeline } from "./timeline";
import { setDims, toggleSplit } from "./viewbars";

export interface Key { keys: string[]; shown: string; what: string; run: (event: KeyboardEvent) => void }
export interface Parts { store: Store; stage: Stage; timeline: Timeline; sidebar: Sidebar; help: () => void; searchLegend: () => void }

export function makeKeys({ store, stage, timeline, sidebar, help, searchLegend }: Parts): { group: string; keys: Key[] }[] {
  const step = 40;
  const nextColour = (by: number) => {
    const all = store.manifest.columns.filter((c) => c.kind !== "text").map((c) => columnKey(c.name));
    if (all.length > 0) store.setColour(all[(all.indexOf(store.colour) + by + all.length) % all.length]!);
  };
  const ghosts: Ghost[] = ["none", "first", "previous"];
  const move = (dx: number, dy: number) => () => stage.moveBy(dx, dy);
  return [
    { group: "Map", keys: [
      { keys: ["arrowleft"], shown: "← → ↑ ↓", what: "Move the map (turn it in 3-D)", run: move(step, 0) },
      { keys: ["arrowright"], shown: "", what: "", run: move(-step, 0) },
      { keys: ["arrowup"], shown: "", what: "", run: move(0, step) },
      { keys: ["arrowdown"], shown: "", what: "", run: move(0, -step) },
      { keys: ["+", "="], shown: "+", what: "Zoom in", run: () => stage.zoomBy(0.8) },
      { keys: ["-", "_"], shown: "−", what: "Zoom out", run: () => stage.zoomBy(1.25) },
      { keys: ["f"], shown: "F", what: "Fit everything", run: () => stage.fit() },
      { keys: ["z"], shown: "Z", what: "Focus on the selection", run: () => stage.focusSelection() },
      { keys: ["2"], shown: "2", what: "2-D map", run: () => setDims(store, stage, 2) },
      { keys: ["3"], shown: "3", what: "3-D map", run: () => setDims(store, stage, 3) },
      { keys: ["s"], shown: "S", what: "One map or two", run: () => toggleSplit(store, stage) },
      { keys: ["l"], shown: "L", what: "Link the cameras", run: () => store.option("linked", !store.linked) },
    ] },
    { group: "Selection", keys: [
      { keys: ["v"], shown: "V", what: "Move tool", run: () => store.setTool("pan") },
      { keys: ["e"], shown: "E", what: "Lasso", run: () => store.setTool(store.tool === "lasso" ? "pan" : "lasso") },
      { keys: ["b"], shown: "B", what: "Box", run: () => store.setTool(store.tool === "box" ? "pan" : "box") },
      { keys: ["a"], shown: "A", what: "Lasso and box: select anew, add, take away", run: () => store.setMode(MODES[(MODES.indexOf(store.mode) + 1) % MODES.length]!) },
      { keys: ["ctrl+a"], shown: "Ctrl A", what: "Select all that is visible", run: () => store.selection.all() },
      { keys: ["i"], shown: "I", what: "Invert the selection", run: () => store.selection.invert() },
      { keys: ["ctrl+z"], shown: "Ctrl Z", what: "Undo the last selection", run: () => store.selection.undo() },
      { keys: ["escape"], shown: "Esc", what: "Clear the selection", run: () => { if (stage.cancelDrag()) return; if (store.selection.any || store.sample) { store.selection.clear(); store.openSample(null); } else store.setTool("pan"); } },
    ] },
    { group: "Time", keys: [
      { keys: [" "], shown: "Space", what: "Play or pause", run: () => timeline.toggle() },
      { keys: [","], shown: ",", what: "Epoch before", run: () => timeline.by(-1) },
      { keys: ["."], shown: ".", what: "Next epoch", run: () => timeline.by(1) },
      { keys: ["t"], shown: "T", what: "Trails of the selection", run: () => store.option("trails", !store.trails) },
      { keys: ["g"], shown: "G", what: "Ghost: none, first, previous epoch", run: () => store.option("ghost", ghosts[(ghosts.indexOf(store.ghost) + 1) % 3]!) },
    ] },
    { group: "Colour and filters", keys: [
      { keys: ["c"], shown: "C", what: "Colour by the next column (Shift C: the one before)", run: (event) => nextColour(event.shiftKey ? -1 : 1) },
      { keys: ["/"], shown: "/", what: "Search a class", run: (event) => { event.preventDefault(); searchLegend(); } },
      { keys: ["m"], shown: "M", what: "Only misclassified", run: () => store.filters.setOnlyWrong(!store.filters.onlyWrong) },
      { keys: ["d"], shown: "D", what: "Drop all filters", run: () => store.filters.clear() },
      { keys: ["o"], shown: "O", what: "Mark points far outside the fit", run: () => store.option("showOod", !store.showOod) },
    ] },
    { group: "Page", keys: [
      { keys: ["p"], shown: "P", what: "Show or hide the panel", run: () => sidebar.toggle() },
      { keys: ["n"], shown: "N", what: "Neighbours of the selected point", run: () => {
        const first = store.selection.rows(true)[0];
        if (store.sample === null && first === undefined) { store.tell("Select a point first."); return; }
        store.openSample(store.sample ?? { dataset: first!.dataset, slot: first!.slots[0]! });
      } },
      { keys: ["?"], shown: "?", what: "This help", run: help },
    ] },
  ];
}

export function listenKeys(groups: { keys: Key[] }[], stage: Stage): void {
  const all = new Map(groups.flatMap((group) => group.keys.flatMap((key) => key.keys.map((name) => [name, key] as const))));
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (document.querySelector("dialog[open]") !== null || event.defaultPrevented) return;
    const escape = event.key === "Escape";
    if (target instanceof HTMLInputElement && !["range", "checkbox"].includes(target.type) || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) {
      if (escape) stage.surface.focus();
      return;
    }
    const name = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.key.toLowerCase()}`;
    const key = all.get(name);
    if (key === undefined || event.altKey) return;
    // Space presses buttons and arrows move sliders and lists; the map takes these keys only when it has the focus, or nothing has.
    const free = target === stage.surface || target === document.body;
    if ((event.key === " " || event.key.startsWith("Arrow")) && !free) return;
    event.preventDefault();
    key.run(event);
  });
}
