// What layouts are called.
import type { Layout } from "./api";
import type { Store } from "./store";

/** As papers write them. */
export const METHODS: Record<string, string> = { pacmap: "PaCMAP", umap: "UMAP", localmap: "LocalMAP", pca: "PCA" };

/** A layout that tlc has not made has no method that is known, but a name. */
const layoutName = (layout: Layout) => `${layout.method === "unknown" ? layout.name : METHODS[layout.method] ?? layout.method} ${layout.dims}-D`;

/** Method and dimensions, and what was reduced if that differs between layouts. */
function layoutTitle(store: Store, layout: Layout): string {
  const several = new Set(store.manifest.layouts.map(({ source }) => source)).size > 1;
  return several ? `${layout.source ?? layout.name} · ${layoutName(layout)}` : layoutName(layout);
}

/** Names that tell all layouts apart: where titles are the same, the arguments that differ are told too. */
export function layoutOptions(store: Store): { value: number; text: string }[] {
  const { layouts } = store.manifest;
  const name = (layout: Layout) => layoutTitle(store, layout);
  return layouts.map((layout) => {
    const twins = layouts.filter((other) => name(other) === name(layout));
    if (twins.length === 1) return { value: layout.id, text: name(layout) };
    const told = (value: unknown) => JSON.stringify(value) ?? "default";
    const differing = Object.keys(layout.args).filter((key) => twins.some((other) => told(other.args[key]) !== told(layout.args[key])));
    const args = differing.slice(0, 2).map((key) => `${key} ${told(layout.args[key])}`).join(", ");
    const unique = args !== "" && twins.every((other) => other === layout || differing.slice(0, 2).some((key) => told(other.args[key]) !== told(layout.args[key])));
    return { value: layout.id, text: `${name(layout)} · ${unique ? args : layout.name}` };
  });
}
