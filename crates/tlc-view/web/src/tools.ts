// The tools beside the map, what a lasso does, and how points are displayed.
import { h, iconButton, setPressed } from "./dom";
import { MODES, type Mode } from "./selection";
import type { Stage } from "./stage";
import type { Store, Tool } from "./store";
import { setDims, toggleSplit } from "./viewbars";

const MODE_NAMES: Record<Mode, [string, string]> = { replace: ["Select anew", "A"], add: ["Add to the selection", "A, or Shift + drag"], subtract: ["Take away from the selection", "A, or Alt + drag"] };

export function makeTools(store: Store, stage: Stage): HTMLElement {
  const tool = (name: Tool, label: string, keys: string) => iconButton(name, label, () => store.setTool(name), keys);
  const tools: [Tool, HTMLButtonElement][] = [["pan", tool("pan", "Move the map", "V")], ["lasso", tool("lasso", "Lasso", "E")], ["box", tool("box", "Box", "B")]];
  // Fingers have neither Shift nor Alt.
  const modes = MODES.map((mode) => iconButton(mode, MODE_NAMES[mode][0], () => store.setMode(mode), MODE_NAMES[mode][1]));
  const choice = h("div", { class: "card modes", role: "group", "aria-label": "What a lasso or a box does" }, ...modes);
  stage.element.append(choice);
  const dims = h("button", { type: "button", class: "icon-button dims", onclick: () => setDims(store, stage, store.layoutOf(store.activeView)?.dims === 2 ? 3 : 2) });
  const split = iconButton("split", "Two maps", () => toggleSplit(store, stage), "S");
  const link = iconButton("link", "Link the cameras", () => store.option("linked", !store.linked), "L");
  const size = h("input", { type: "range", min: -1, max: 1, step: 0.05, value: 0, "aria-label": "Point size", oninput: () => store.option("sizeFactor", 3 ** Number(size.value)) });
  const opacity = h("input", { type: "range", min: -1, max: 1, step: 0.05, value: 0, "aria-label": "Opacity", oninput: () => store.option("opacityFactor", 3 ** Number(opacity.value)) });
  const labels = h("input", { type: "checkbox", checked: store.labels, onchange: () => store.option("labels", labels.checked) });
  const wrong = h("input", { type: "checkbox", onchange: () => store.filters.setOnlyWrong(wrong.checked) });
  const popover = h("div", { class: "card display", role: "group", "aria-label": "Display", hidden: true },
    h("label", {}, "Point size", size), h("label", {}, "Opacity", opacity), h("label", { class: "check" }, labels, "Class names on the map"), h("label", { class: "check wrong" }, wrong, "Only misclassified (M)"));
  const expand = (on: boolean) => { popover.hidden = !on; tune.setAttribute("aria-expanded", String(on)); };
  const tune = iconButton("tune", "Display", () => expand(popover.hidden !== false));
  expand(false);
  // It goes away by Esc, and when anything else is used.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || popover.hidden) return;
    expand(false);
    tune.focus();
    event.stopImmediatePropagation();
  });
  document.addEventListener("pointerdown", (event) => { if (!popover.hidden && !popover.contains(event.target as Node) && !tune.contains(event.target as Node)) expand(false); });

  const element = h("div", { class: "tools card", role: "toolbar", "aria-label": "Map tools", "aria-orientation": "vertical" },
    ...tools.map(([, button]) => button), h("hr"),
    iconButton("plus", "Zoom in", () => stage.zoomBy(0.7), "+"), iconButton("minus", "Zoom out", () => stage.zoomBy(1 / 0.7), "−"),
    iconButton("fit", "Fit everything", () => stage.fit(), "F"), iconButton("focus", "Focus on the selection", () => stage.focusSelection(), "Z"), h("hr"), dims, split, link, tune);
  const render = () => {
    for (const [name, button] of tools) setPressed(button, store.tool === name);
    choice.hidden = store.tool === "pan";
    modes.forEach((button, i) => setPressed(button, store.mode === MODES[i]));
    const now = store.layoutOf(store.activeView)?.dims ?? 2;
    dims.textContent = `${now}-D`;
    const label = `Show ${now === 2 ? 3 : 2}-D`;
    dims.setAttribute("aria-label", label);
    dims.title = `${label} (${now === 2 ? 3 : 2})`;
    dims.disabled = store.manifest !== undefined && !store.manifest.layouts.some((layout) => layout.dims !== now);
    setPressed(split, store.views.length > 1);
    setPressed(link, store.linked);
    link.hidden = store.views.length < 2;
    labels.checked = store.labels;
    wrong.checked = store.filters.onlyWrong;
    wrong.parentElement!.hidden = store.role("label") === undefined || store.role("prediction") === undefined;
  };
  store.on(["tool", "options", "views", "manifest", "layout", "mask"], render);
  stage.element.append(popover);
  return element;
}
