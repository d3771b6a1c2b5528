// The line at the map's lower edge.
import { h, onFrame } from "./dom";
import { count, plural } from "./format";
import type { Store } from "./store";

/** Numbers at the map's lower edge; the selection's count is announced. */
export function makeStatus(store: Store): HTMLElement {
  const points = h("span");
  const selected = h("span", { class: "selected", "aria-live": "polite", role: "status" });
  const element = h("div", { class: "status-line" }, selected, points);
  const render = onFrame(() => {
    const visible = store.selection.visible, all = store.selection.shown;
    let missing = 0;
    store.views.forEach((view, i) => { if (i === store.activeView) for (const dataset of store.datasetsOf(i)) {
      const table = store.tableAt(view.layout, dataset, store.step);
      if (table !== undefined) missing += store.data.coordsNow(view.layout, table)?.missing ?? 0;
    } });
    const parts = [visible < all ? `${count(visible)} of ${plural(all, "point")}` : plural(all, "point")];
    if (missing > 0) parts.push(`${count(missing)} without a position here`);
    points.textContent = parts.join(" · ");
    const chosen = store.selection.chosen;
    const text = chosen > 0 ? `${count(chosen)} selected` : store.selection.any ? "selection hidden by filters" : "";
    if (selected.textContent !== text) selected.textContent = text;
    element.classList.toggle("has-selection", text !== "");
  });
  store.on(["selection", "mask", "views", "step", "coords", "manifest"], render);
  return element;
}
