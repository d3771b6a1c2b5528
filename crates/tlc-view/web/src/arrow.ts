// Arrow IPC streams to plain typed arrays, one pass, without an array of JavaScript values in between.
import { tableFromIPC } from "@uwdata/flechette";
import { ApiError, type Kind } from "./api";

interface Batch { length: number; nullCount: number; validity?: Uint8Array; values: ArrayLike<number | bigint>; at(i: number): unknown }

/** x, y, z and a word per point as 4 × u16, which is what the GPU reads. The word is 0 for "no position", else 1 + ood. */
export interface Coords { xyzw: Uint16Array; n: number; missing: number }

/** `category`: class index, -1 = null. `boolean`: 0/1, -1 = null. `number`: NaN = null. `text`: null = null. */
export interface Column { kind: Kind; n: number; ints: Int32Array | null; floats: Float32Array | null; texts: (string | null)[] | null; bytes: number; whole?: boolean }

/** An ood byte is score × 16; without one a point counts as typical. */
export const OOD_TYPICAL = 16;
export const OOD_FAR = 3 * 16;

function batches(bytes: Uint8Array, name: string): Batch[] {
  let child;
  try {
    child = tableFromIPC(bytes).getChild(name);
  } catch {
    throw new ApiError("The data could not be read.", "Page and server may be of different versions: reload the page.", 0);
  }
  return (child?.data ?? []) as unknown as Batch[];
}

const isNull = (batch: Batch, i: number) => batch.nullCount > 0 && batch.validity !== undefined && (batch.validity[i >> 3]! & (1 << (i & 7))) === 0;

export function readCoords(bytes: Uint8Array): Coords {
  const parts = ["x", "y", "z", "ood"].map((name) => batches(bytes, name));
  const n = parts[0]!.reduce((sum, batch) => sum + batch.length, 0);
  const xyzw = new Uint16Array(4 * n);
  const lost = new Uint8Array(n);
  for (let c = 0; c < 3; c++) {
    let row = 0;
    for (const batch of parts[c]!) {
      const values = batch.values as ArrayLike<number>;
      const nulls = batch.nullCount > 0;
      for (let i = 0; i < batch.length; i++, row++) {
        xyzw[4 * row + c] = values[i]!;
        if (nulls && isNull(batch, i)) lost[row] = 1;
      }
    }
  }
  for (let i = 0; i < n; i++) xyzw[4 * i + 3] = 1 + OOD_TYPICAL;
  let row = 0;
  for (const batch of parts[3]!) {
    const values = batch.values as ArrayLike<number>;
    for (let i = 0; i < batch.length; i++, row++) if (!isNull(batch, i)) xyzw[4 * row + 3] = 1 + values[i]!;
  }
  let missing = 0;
  for (let i = 0; i < n; i++) if (lost[i] === 1) { xyzw[4 * i + 3] = 0; missing++; }
  return { xyzw, n, missing };
}

export function readColumn(bytes: Uint8Array, kind: Kind): Column {
  const data = batches(bytes, "value");
  const n = data.reduce((sum, batch) => sum + batch.length, 0);
  let row = 0;
  if (kind === "number") {
    const floats = new Float32Array(n);
    for (const batch of data) {
      const values = batch.values as ArrayLike<number>;
      for (let i = 0; i < batch.length; i++) floats[row++] = isNull(batch, i) ? NaN : Number(values[i]);
    }
    return { kind, n, ints: null, floats, texts: null, bytes: 4 * n };
  }
  if (kind === "text") {
    const texts: (string | null)[] = new Array(n);
    let size = 0;
    for (const batch of data) for (let i = 0; i < batch.length; i++) {
      const value = batch.at(i);
      const text = value === null || value === undefined ? null : String(value);
      size += 16 + 2 * (text?.length ?? 0);
      texts[row++] = text;
    }
    return { kind, n, ints: null, floats: null, texts, bytes: size };
  }
  const ints = new Int32Array(n);
  for (const batch of data) for (let i = 0; i < batch.length; i++) {
    const value = isNull(batch, i) ? null : batch.at(i);
    ints[row++] = value === null || value === undefined ? -1 : Number(value);
  }
  return { kind, n, ints, floats: null, texts: null, bytes: 4 * n };
}

export function readIds(bytes: Uint8Array): Float64Array {
  const data = batches(bytes, "example_id");
  const out = new Float64Array(data.reduce((sum, batch) => sum + batch.length, 0));
  let row = 0;
  for (const batch of data) for (let i = 0; i < batch.length; i++) out[row++] = Number(batch.values[i]);
  return out;
}
