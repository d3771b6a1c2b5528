// Helpers for plain DOM code: build elements, icons, debounce. Text always goes in as text, never as HTML.

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

const SVG = "http://www.w3.org/2000/svg";

function apply(node: Element, props: Props): void {
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value as EventListener);
    else if (key === "style") Object.assign((node as HTMLElement).style, value);
    else if (key === "value") (node as HTMLInputElement).value = String(value);
    else if (key === "checked" || key === "disabled" || key === "selected") (node as unknown as Props)[key] = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
}

function append(node: Element, children: Child[]): void {
  for (const child of children) if (child !== null && child !== undefined && child !== false) node.append(typeof child === "number" ? String(child) : child);
}

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  apply(node, props);
  append(node, children);
  return node;
}

export function s<K extends keyof SVGElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const node = document.createElementNS(SVG, tag) as SVGElementTagNameMap[K];
  apply(node, props);
  append(node, children);
  return node;
}

export function fill(node: Element, ...children: Child[]): void {
  node.replaceChildren();
  append(node, children);
}

/** Strokes on a 20 × 20 grid. */
const ICONS = {
  play: "M6 4l10 6-10 6z", pause: "M6 4v12M14 4v12", loop: "M4 8a4 4 0 0 1 4-4h8M13 1l3 3-3 3M16 12a4 4 0 0 1-4 4H4M7 19l-3-3 3-3",
  pan: "M10 2v16M2 10h16M10 2L8 4.500M10 2l2 2.500M10 18l-2-2.500M10 18l2-2.500M2 10l2.500-2M2 10l2.500 2M18 10l-2.500-2M18 10l-2.500 2",
  lasso: "M10 3c4.400 0 8 2 8 5s-3.600 5.500-8 5.500S2 11.500 2 8.500 5.600 3 10 3zM6 13c-1.500.5-2 2-.5 2.500S8 17 6.500 18",
  box: "M3 3h3M9 3h2M14 3h3v3M17 9v2M17 14v3h-3M11 17H9M6 17H3v-3M3 11V9M3 6V3",
  fit: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4M8 10h4M10 8v4", plus: "M10 4v12M4 10h12", minus: "M4 10h12",
  focus: "M10 6a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM10 1v4M10 15v4M1 10h4M15 10h4",
  trails: "M3 16c3 0 3-6 6-6s3 4 5 0 1-6 3-7M3 16m-1.500 0a1.500 1.500 0 1 0 3 0 1.500 1.500 0 1 0-3 0",
  split: "M2 4h16v12H2zM10 4v12", link: "M8 12l4-4M7 9l-2.500 2.500a2.800 2.800 0 0 0 4 4L11 13M13 11l2.500-2.500a2.800 2.800 0 0 0-4-4L9 7",
  help: "M7 7.500a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1-1.500 2.200M10 15.500v.5", theme: "M16 12.500A7 7 0 1 1 8 3.500a5.500 5.500 0 0 0 8 9z",
  close: "M5 5l10 10M15 5L5 15", panel: "M2 4h16v12H2zM13 4v12", tune: "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
  share: "M10 12V2M6.500 5L10 2l3.500 3M5 9H4v9h12V9h-1", invert: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  replace: "M4 4h12v12H4z", add: "M3 3h9v5h5v9H8v-5H3z", subtract: "M3 3h9v5H8v4H3zM12 12h5", search: "M8.500 3a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11zM13 13l4 4",
} as const;
export type Icon = keyof typeof ICONS;

export function icon(name: Icon): SVGElement {
  return s("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }, s("path", { d: ICONS[name], class: name === "play" ? "solid" : null }));
}

/** A button with an icon; its name is for the tooltip and for screen readers, `keys` tells the shortcut. */
export function iconButton(name: Icon, label: string, run: (event: MouseEvent) => void, keys = ""): HTMLButtonElement {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: keys === "" ? label : `${label} (${keys})`, onclick: run }, icon(name));
}

export function setPressed(button: Element, on: boolean): void {
  button.setAttribute("aria-pressed", String(on));
}

export function select<T extends string | number>(label: string, options: { value: T; text: string; group?: string }[], value: T, run: (value: string) => void): HTMLSelectElement {
  const node = h("select", { "aria-label": label, title: label, onchange: () => run(node.value) });
  let group = null as HTMLOptGroupElement | null;
  for (const option of options) {
    if (option.group !== undefined && group?.label !== option.group) node.append(group = h("optgroup", { label: option.group }));
    (option.group === undefined ? node : group!).append(h("option", { value: option.value }, option.text));
  }
  node.value = String(value);
  return node;
}

export function debounce(ms: number, run: () => void): () => void {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(run, ms);
  };
}

/** Runs once at the next frame, however often it is asked for. */
export function onFrame(run: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; run(); });
  };
}

export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
