// Everything per dataset that is as long as the dataset: colours, what passes the filters, what is selected.
import type { Dataset } from "./api";

export interface Ref { dataset: number; slot: number }

export interface Points {
  info: Dataset;
  /** Colour of every point as an index into the scale; 0 = no value. */
  codes: Uint16Array;
  /** 1 = passes the filters. */
  mask: Uint8Array;
  selected: Uint8Array;
  /** Versions are others after every change; keys say what the arrays were made from. */
  codesVersion: number;
  stateVersion: number;
  codesKey: string;
  maskKey: string;
  visible: number;
  /** Selected and visible: what counts, lists and exports mean by "the selection". */
  chosen: number;
}

/** Versions never come twice, so what was made of a dataset's arrays is never taken for what is made of the next ones. */
let versions = 0;
export const nextVersion = () => ++versions;

export const makePoints = (info: Dataset): Points => ({
  info, codes: new Uint16Array(info.rows), mask: new Uint8Array(info.rows).fill(1), selected: new Uint8Array(info.rows),
  codesVersion: nextVersion(), stateVersion: nextVersion(), codesKey: "", maskKey: "", visible: info.rows, chosen: 0,
});

/** After a change of `mask` or `selected`. */
export function recount(points: Points): void {
  const { mask, selected } = points;
  let visible = 0, chosen = 0;
  for (let i = 0; i < mask.length; i++) { visible += mask[i]!; chosen += mask[i]! & selected[i]!; }
  points.visible = visible;
  points.chosen = chosen;
  points.stateVersion = nextVersion();
}
