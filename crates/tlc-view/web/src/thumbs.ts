// Thumbnails: one image per sample from the server, or a piece of a sprite sheet in an exported file.
import { h } from "./dom";
import type { Store } from "./store";

const placement = new Map<number, Map<number, number>>();

function spriteAt(store: Store, dataset: number, slot: number): { url: string; x: number; y: number; size: number; perRow: number } | null {
  const sheet = store.source.sprites(dataset);
  if (sheet === null) return null;
  let known = placement.get(dataset);
  if (known === undefined) placement.set(dataset, known = new Map(sheet.slots.map((s, i) => [s, i])));
  const i = known.get(slot);
  return i === undefined ? null : { url: sheet.png, x: i % sheet.per_row, y: Math.floor(i / sheet.per_row), size: sheet.size, perRow: sheet.per_row };
}

/** An exported file may have come without the pictures. */
export const hasImages = (store: Store, dataset: number) => store.points.get(dataset)?.info.images === true && (store.source.live || store.source.sprites(dataset) !== null);

/** An exported file holds the pictures of some samples only. */
export const hasThumb = (store: Store, dataset: number, slot: number) => hasImages(store, dataset) && (store.source.live || spriteAt(store, dataset, slot) !== null);

/** `size` in CSS pixels. Small images stay crisp; a missing one says so. */
export function thumb(store: Store, dataset: number, slot: number, size: number): HTMLElement {
  const box = h("span", { class: "thumb", style: { width: `${size}px`, height: `${size}px` } });
  if (!hasImages(store, dataset)) return box;
  const none = () => { box.classList.add("none"); box.title = "no image"; };
  if (!store.source.live) {
    const sprite = spriteAt(store, dataset, slot);
    if (sprite === null) { none(); return box; }
    const scale = size / sprite.size;
    box.classList.add("pixelated");
    Object.assign(box.style, { backgroundImage: `url("${sprite.url}")`, backgroundSize: `${sprite.perRow * sprite.size * scale}px auto`, backgroundPosition: `${-sprite.x * size}px ${-sprite.y * size}px` });
    return box;
  }
  const load = () => {
    const id = store.data.idOf(dataset, slot);
    const url = id === undefined ? null : store.source.thumbUrl(dataset, id);
    if (url === null) { none(); return; }
    const image = h("img", { alt: "", decoding: "async", draggable: "false" });
    image.onload = () => { if (image.naturalWidth <= 96) box.classList.add("pixelated"); };
    image.onerror = none;
    image.src = url;
    box.append(image);
  };
  if (store.data.idOf(dataset, slot) === undefined) store.data.loadIds(dataset).then(load, none);
  else load();
  return box;
}
