// Which projected points lie inside a polygon: even-odd rule, edges sorted into rows of pixels so that each point
// meets only the few edges at its height. The polygon closes itself.
import type { Projected } from "./renderer/project";

/** Sets hits[i] = 1 for the points inside; polygon as x0, y0, x1, y1, … in the same pixels as the points. */
export function lassoHits(corner: number[], at: Projected, mask: Uint8Array, hits: Uint8Array): void {
  // Floats throughout: a lasso over whole pixels must not be other code for the compiler than one over half pixels.
  const polygon = Float64Array.from(corner);
  const corners = polygon.length >> 1;
  if (corners < 3) return;
  let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
  for (let i = 0; i < corners; i++) {
    x0 = Math.min(x0, polygon[2 * i]!); x1 = Math.max(x1, polygon[2 * i]!);
    y0 = Math.min(y0, polygon[2 * i + 1]!); y1 = Math.max(y1, polygon[2 * i + 1]!);
  }
  const rows = Math.floor(y1 - y0) + 1;
  const counts = new Uint32Array(rows + 1);
  const span = (i: number): [number, number] => {
    const a = polygon[2 * i + 1]!, b = polygon[2 * ((i + 1) % corners) + 1]!;
    return [Math.floor(Math.min(a, b) - y0), Math.min(rows - 1, Math.floor(Math.max(a, b) - y0))];
  };
  for (let i = 0; i < corners; i++) { const [lo, hi] = span(i); for (let r = lo; r <= hi; r++) counts[r + 1]!++; }
  for (let r = 0; r < rows; r++) counts[r + 1]! += counts[r]!;
  const edges = new Uint32Array(counts[rows]!);
  const next = counts.slice(0, rows);
  for (let i = 0; i < corners; i++) { const [lo, hi] = span(i); for (let r = lo; r <= hi; r++) edges[next[r]!++] = i; }
  const ax = new Float64Array(corners), ay = new Float64Array(corners), by = new Float64Array(corners), slope = new Float64Array(corners);
  for (let i = 0; i < corners; i++) {
    const j = (i + 1) % corners;
    ax[i] = polygon[2 * i]!; ay[i] = polygon[2 * i + 1]!; by[i] = polygon[2 * j + 1]!;
    slope[i] = by[i] === ay[i] ? 0 : (polygon[2 * j]! - ax[i]!) / (by[i]! - ay[i]!);
  }
  const n = Math.min(at.x.length, mask.length);
  const table: EdgeTable = { x0, x1, y0, y1, counts, edges, ax, ay, by, slope };
  // Piece by piece: a loop that has been called often enough is compiled, one that merely runs long waits for it.
  for (let from = 0; from < n; from += PIECE) testPiece(from, Math.min(n, from + PIECE), at, mask, hits, table);
}

const PIECE = 8192;

interface EdgeTable {
  x0: number; x1: number; y0: number; y1: number;
  /** Edges of row r: `edges[counts[r] .. counts[r + 1]]`. */
  counts: Uint32Array; edges: Uint32Array;
  ax: Float64Array; ay: Float64Array; by: Float64Array; slope: Float64Array;
}

function testPiece(from: number, to: number, { x, y }: Projected, mask: Uint8Array, hits: Uint8Array, { x0, x1, y0, y1, counts, edges, ax, ay, by, slope }: EdgeTable): void {
  for (let i = from; i < to; i++) {
    const px = x[i]!, py = y[i]!;
    // NaN fails every comparison, so missing points drop out here.
    if (!(px >= x0 && px <= x1 && py >= y0 && py <= y1) || mask[i] === 0) continue;
    const row = (py - y0) | 0;
    let inside = 0;
    for (let k = counts[row]!, end = counts[row + 1]!; k < end; k++) {
      const e = edges[k]!;
      if (ay[e]! > py !== by[e]! > py && px < ax[e]! + (py - ay[e]!) * slope[e]!) inside ^= 1;
    }
    hits[i] = inside;
  }
}

export const boxPolygon = (ax: number, ay: number, bx: number, by: number) => [ax, ay, bx, ay, bx, by, ax, by];
