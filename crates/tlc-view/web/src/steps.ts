// The steps of the time slider.
import type { Manifest } from "./api";

export interface Step { label: string; epoch: number | null; tables: number[] }

/** Tables with an epoch meet at it; those without one take a step each (in their dataset's order), named by the table. */
export function makeSteps(manifest: Manifest): Step[] {
  const used = new Set(manifest.layouts.flatMap((layout) => layout.tables));
  const epochs = new Map<number, number[]>();
  const plain: Step[] = [];
  const nth = new Map<number, number>();
  for (const table of manifest.tables) {
    if (used.size > 0 && !used.has(table.id)) continue;
    if (table.epoch !== null) {
      const list = epochs.get(table.epoch);
      if (list === undefined) epochs.set(table.epoch, [table.id]); else list.push(table.id);
    } else {
      const i = nth.get(table.dataset) ?? 0;
      nth.set(table.dataset, i + 1);
      if (plain[i] === undefined) plain[i] = { label: table.name, epoch: null, tables: [table.id] };
      else plain[i]!.tables.push(table.id);
    }
  }
  const timed = [...epochs].sort((a, b) => a[0] - b[0]).map(([epoch, tables]): Step => ({ label: `Epoch ${epoch}`, epoch, tables }));
  return [...timed, ...plain];
}
