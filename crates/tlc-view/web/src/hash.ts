// The state of the page in the URL's hash, so that a link shows the same picture. Selections travel as ranges of example ids.
import { columnKey, DATASET_COLOUR, NO_COLOUR, type Range } from "./scale";
import type { Stage } from "./stage";
import type { Store, View } from "./store";
import type { Camera } from "./renderer/camera";

const MOST_SELECTION = 60_000;

/** Sorted ids as (gap, length) pairs of LEB128 numbers, base64url. */
export function packIds(ids: number[]): string {
  const sorted = [...ids].sort((a, b) => a - b);
  const bytes: number[] = [];
  const put = (value: number) => { let v = value; while (v > 127) { bytes.push((v % 128) | 128); v = Math.floor(v / 128); } bytes.push(v); };
  let end = 0;
  for (let i = 0; i < sorted.length;) {
    let j = i;
    while (j + 1 < sorted.length && sorted[j + 1]! <= sorted[j]! + 1) j++;
    // Ids may be negative only at the very start; zig-zag the first gap.
    const gap = sorted[i]! - end;
    put(i === 0 ? (gap < 0 ? -2 * gap - 1 : 2 * gap) : gap);
    put(sorted[j]! - sorted[i]!);
    end = sorted[j]! + 1;
    i = j + 1;
  }
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function unpackIds(text: string): number[] {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const numbers: number[] = [];
  for (let i = 0, v = 0, k = 1; i < binary.length; i++) {
    const byte = binary.charCodeAt(i);
    v += (byte & 127) * k;
    if (byte > 127) k *= 128; else { numbers.push(v); v = 0; k = 1; }
  }
  const out: number[] = [];
  let at = 0;
  for (let i = 0; i + 1 < numbers.length && out.length < 2_000_000; i += 2) {
    const gap = numbers[i]!;
    at += i === 0 ? (gap % 2 === 1 ? -(gap + 1) / 2 : gap / 2) : gap;
    for (let k = 0; k <= numbers[i + 1]! && out.length < 2_000_000; k++) out.push(at + k);
    at += numbers[i + 1]! + 1;
  }
  return out;
}

const short = (v: number) => String(Number(v.toPrecision(6)));
const cameraText = (c: Camera) => [c.x, c.y, c.z, c.h, c.theta, c.phi].map(short).join("_");

/** Async because example ids may have to be fetched. */
export async function writeHash(store: Store, stage: Stage): Promise<string> {
  const q = new URLSearchParams();
  q.set("l", store.views.map((v) => v.layout).join("_"));
  q.set("d", store.views.map((v) => v.dataset).join("_"));
  const step = store.steps[store.step];
  if (step !== undefined) q.set("e", step.epoch === null ? `n${store.step}` : String(step.epoch));
  q.set("c", store.colour);
  store.views.forEach((_, i) => { if (stage.renderer.homes[i] !== undefined) q.set(`v${i}`, cameraText(store.cameras[i]!)); });
  if (store.views.length > 1 && !store.linked) q.set("u", "1");
  if (store.trails) q.set("t", "1");
  if (store.ghost !== "none") q.set("g", store.ghost);
  if (!store.showOod) q.set("o", "0");
  if (store.filters.onlyWrong) q.set("w", "1");
  let size = 0;
  for (const [key, codes] of store.filters.hidden) {
    const info = store.column(key.slice(1));
    if (key === DATASET_COLOUR || info?.kind !== "text") { q.append("h", `${packIds([...codes])} ${key}`); continue; }
    const text = hiddenTexts(info.name, store.scales.namesOf(info) as string[], codes);
    size += text.length;
    if (size <= MOST_SELECTION) q.append("k", text);
  }
  for (const [name, { lo, hi }] of store.filters.ranges) q.append("f", `${Number.isFinite(lo) ? lo : ""} ${Number.isFinite(hi) ? hi : ""} ${name}`);
  if (store.selection.any) {
    for (const { dataset, slots } of store.selection.rows(true)) {
      if (slots.length > 250_000) { size = Infinity; break; }
      await store.data.loadIds(dataset);
      const text = packIds(Array.from(slots, (slot) => store.data.idOf(dataset, slot)!));
      size += text.length;
      if (size <= MOST_SELECTION) q.append("s", `${dataset} ${text}`);
    }
  }
  if (size > MOST_SELECTION) q.set("x", "1");
  return q.toString();
}

/** Column, whether all others are hidden or these, and the texts: whichever are fewer. Null is "no value". */
function hiddenTexts(name: string, names: string[], codes: Set<number>): string {
  const hidden: (string | null)[] = [], shown: (string | null)[] = [];
  for (let code = 0; code <= names.length; code++) (codes.has(code) ? hidden : shown).push(code === 0 ? null : names[code - 1]!);
  return JSON.stringify(shown.length < hidden.length ? [name, true, shown] : [name, false, hidden]);
}

/** Codes of the texts as they are numbered here, which the tables shown tell; null if it is nothing that can be hidden. */
async function hiddenCodes(store: Store, text: string): Promise<[string, Set<number>] | null> {
  const [name, others, texts] = JSON.parse(text) as [string, boolean, (string | null)[]];
  if (store.column(name)?.kind !== "text" || !Array.isArray(texts)) return null;
  let known = new Map<string, number>();
  for (const dataset of store.points.keys()) {
    const table = store.currentTable(dataset);
    if (table !== undefined) known = store.scales.codesOfText(name, await store.data.values(name, table));
  }
  const named = new Set(texts.map((each) => (each === null ? 0 : known.get(each))).filter((code) => code !== undefined));
  if (named.size === 0) return null;
  return [columnKey(name), others ? new Set([0, ...known.values()].filter((code) => !named.has(code))) : named];
}

/** Takes up what a link says; what does not fit this run, or is damaged, is left out and told. */
export async function readHash(store: Store, stage: Stage, hash: string): Promise<void> {
  let left = 0;
  const q = new URLSearchParams(hash.replace(/^#/, ""));
  const list = (key: string) => (q.get(key) ?? "").split("_").map(Number);
  if (q.has("l")) {
    const datasets = list("d");
    const views = list("l").slice(0, 2).map((layout, i): View => ({ layout, dataset: store.points.has(datasets[i]!) ? datasets[i]! : -1 })).filter((view) => store.layouts.has(view.layout));
    if (views.length > 0) { store.views = views; store.activeView = 0; }
  }
  const epoch = q.get("e");
  if (epoch !== null) {
    const i = epoch.startsWith("n") ? Number(epoch.slice(1)) : store.steps.findIndex((step) => step.epoch === Number(epoch));
    if (Number.isInteger(i) && i >= 0 && i < store.steps.length) store.time = i; else left++;
  }
  const colour = q.get("c");
  if (colour !== null) {
    if (colour === DATASET_COLOUR || colour === NO_COLOUR || (colour.startsWith("=") && store.column(colour.slice(1)) !== undefined)) store.colour = colour; else left++;
  }
  store.linked = !q.has("u");
  store.trails = q.has("t");
  const ghost = q.get("g");
  store.ghost = ghost === "first" || ghost === "previous" ? ghost : "none";
  store.showOod = q.get("o") !== "0";
  const hidden = new Map<string, Set<number>>(), ranges = new Map<string, Range>();
  for (const text of q.getAll("h")) {
    const cut = text.indexOf(" ");
    const key = text.slice(cut + 1), most = store.filters.mostCode(key);
    try {
      const codes = unpackIds(text.slice(0, cut)), known = codes.filter((code) => code >= 0 && code <= most);
      if (known.length > 0) hidden.set(key, new Set(known));
      if (known.length < codes.length || codes.length === 0) left++;
    } catch { left++; }
  }
  for (const text of q.getAll("k")) {
    const found = await hiddenCodes(store, text).catch(() => null);
    if (found === null) left++; else hidden.set(...found);
  }
  for (const text of q.getAll("f")) {
    const [lo, hi, ...words] = text.split(" ");
    const name = words.join(" ");
    const range: Range = { lo: lo === "" ? -Infinity : Number(lo), hi: hi === "" ? Infinity : Number(hi) };
    if (store.column(name)?.kind === "number" && !Number.isNaN(range.lo) && !Number.isNaN(range.hi)) ranges.set(name, range); else left++;
  }
  store.filters.restore(hidden, ranges, q.has("w"));
  store.views.forEach((_, i) => {
    const c = (q.get(`v${i}`) ?? "").split("_").map(Number);
    if (c.length !== 6 || c.some((v) => !Number.isFinite(v)) || c[3]! <= 0) return;
    store.cameras[i] = { x: c[0]!, y: c[1]!, z: c[2]!, h: c[3]!, theta: c[4]!, phi: c[5]! };
    stage.keepCamera(i);
  });
  await store.refresh();
  const refs = [];
  for (const text of q.getAll("s")) {
    const cut = text.indexOf(" ");
    const dataset = Number(text.slice(0, cut));
    if (!store.points.has(dataset)) { left++; continue; }
    try {
      await store.data.loadIds(dataset);
      for (const id of unpackIds(text.slice(cut + 1))) { const slot = store.data.slotOf(dataset, id); if (slot >= 0) refs.push({ dataset, slot }); }
    } catch { left++; }
  }
  if (refs.length > 0) store.selection.refs(refs, "replace");
  if (left > 0) store.tell("Parts of the link do not fit what is shown, and were left out.", "It is damaged, or was made for another run.", true);
  else if (q.has("x")) store.tell("What was selected or hidden was too large for the link.");
}
