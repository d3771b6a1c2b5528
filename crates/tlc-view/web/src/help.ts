// The help: all keys, and what the pointer does.
import { h } from "./dom";
import type { Key } from "./keys";

const POINTER: [string, string][] = [
  ["Drag", "Move the map; turn it in 3-D (right button or Ctrl: move)"],
  ["Wheel, pinch", "Zoom to the pointer"],
  ["Click", "Select a point; again at the same place: the next point there"],
  ["Shift + drag", "Lasso that adds, with any tool; Alt + drag takes away; buttons beside the lasso do the same"],
  ["Legend click", "Hide or show a class; Alt + click: only this class"],
  ["Histogram drag", "Filter by a range; click clears it"],
];

export function showHelp(groups: { group: string; keys: Key[] }[]): void {
  if (document.querySelector("dialog[open]") !== null) return;
  const row = (key: string, what: string) => [h("dt", {}, ...key.split(" + ").map((k) => h("kbd", {}, k))), h("dd", {}, what)];
  const dialog = h("dialog", { class: "dialog help", "aria-label": "Help" },
    h("div", { class: "panel-head" }, h("h2", {}, "How to look"), h("button", { type: "button", class: "text-button", onclick: () => dialog.close() }, "Close")),
    h("p", { class: "quiet" }, "Every point is a sample; points that the network sees alike lie together. Move the slider to see how training sorts them. Points between clusters, or in a cluster of another colour, are worth a look: “Find” lists them."),
    h("div", { class: "help-columns" },
      h("section", {}, h("h3", {}, "Pointer"), h("dl", {}, ...POINTER.flatMap(([key, what]) => row(key, what)))),
      ...groups.map((group) => h("section", {}, h("h3", {}, group.group), h("dl", {}, ...group.keys.filter((key) => key.shown !== "").flatMap((key) => row(key.shown, key.what)))))));
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.showModal();
}
