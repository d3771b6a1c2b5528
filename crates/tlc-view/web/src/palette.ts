// Colours: categorical sets that stay distinct (also for colour-blind people) and ramps for numbers.

export type Rgb = [number, number, number];

const hex = (text: string): Rgb => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) as Rgb;

// Okabe and Ito's set; its yellow is darkened as far as it stays apart from the orange for
// all eyes, so that it shows on white; its black became a slate that shows on dark.
const EIGHT = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#d9cf1f", "#566170"].map(hex);

export const NO_VALUE: Rgb = hex("#8a919c");

type Vector = [number, number, number];
const times = (m: number[], [x, y, z]: Vector): Vector => [m[0]! * x + m[1]! * y + m[2]! * z, m[3]! * x + m[4]! * y + m[5]! * z, m[6]! * x + m[7]! * y + m[8]! * z];

/** Linear light of an sRGB colour and back. */
const light = (rgb: Rgb) => rgb.map((v) => (v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as Vector;
const encoded = (linear: Vector) => linear.map((x) => Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055))) as Rgb;

/** OKLab (B. Ottosson, 2020), in which distances are what people see as differences. */
const toLab = (linear: Vector) => times([0.2104542553, 0.793617785, -0.0040720468, 1.9779984951, -2.428592205, 0.4505937099, 0.0259040371, 0.7827717662, -0.808675766],
  times([0.4122214708, 0.5363325363, 0.0514459929, 0.2119034982, 0.6806995451, 0.1073969566, 0.0883024619, 0.2817188376, 0.6299787005], linear).map((v) => Math.cbrt(Math.max(0, v))) as Vector);
const fromLab = (lab: Vector) => times([4.0767416621, -3.3077115913, 0.2309699292, -1.2684380046, 2.6097574011, -0.3413193965, -0.0041960863, -0.7034186147, 1.707614701],
  times([1, 0.3963377774, 0.2158037573, 1, -0.1055613458, -0.0638541728, 1, -0.0894841775, -1.291485548], lab).map((v) => v ** 3) as Vector);

/** What is left of colours without red or green cones (Machado, Oliveira and Fernandes, 2009, severity 1). */
const PROTAN = [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998];
const DEUTAN = [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.042940, 0.968881];
/** Two of three dimensions are left to the colour-blind, so their distances count more. */
const WEIGHT = 1.7;

/** A colour as three kinds of eyes see it: nine numbers. */
const seen = (linear: Vector): number[] => [...toLab(linear), ...toLab(times(PROTAN, linear)).map((v) => WEIGHT * v), ...toLab(times(DEUTAN, linear)).map((v) => WEIGHT * v)];

/** The distance to those who see it least. */
function apart(a: number[], b: number[]): number {
  let least = Infinity;
  for (let k = 0; k < 9; k += 3) least = Math.min(least, Math.hypot(a[k]! - b[k]!, a[k + 1]! - b[k + 1]!, a[k + 2]! - b[k + 2]!));
  return least;
}

/** Colours that show on light and on dark: all on a grid of OKLab within sRGB and a range of lightness. */
function candidates(): Vector[] {
  const out: Vector[] = [];
  for (let l = 0.46; l <= 0.85; l += 0.03) for (let a = -0.3; a <= 0.3; a += 0.025) for (let b = -0.3; b <= 0.3; b += 0.025) {
    const linear = fromLab([l, a, b]);
    if (linear.every((v) => v >= 0 && v <= 1) && Math.hypot(a, b) > 0.04 && Math.hypot(a, b) < 0.19) out.push(linear);
  }
  return out;
}

/** Beyond this nobody tells colours apart; they begin again. */
const MOST = 256;
let sequence: Rgb[] = [];

/** The eight, then always the candidate that is farthest from all before it. */
function distinct(): Rgb[] {
  if (sequence.length > 0) return sequence;
  sequence = [...EIGHT];
  const all = candidates();
  const views = all.map(seen);
  const gap = new Float64Array(all.length).fill(Infinity);
  let from = [...EIGHT, NO_VALUE].map((rgb) => seen(light(rgb)));
  while (sequence.length < MOST) {
    let best = 0;
    for (let i = 0; i < all.length; i++) {
      for (const view of from) gap[i] = Math.min(gap[i]!, apart(views[i]!, view));
      if (gap[i]! > gap[best]!) best = i;
    }
    sequence.push(encoded(all[best]!));
    from = [views[best]!];
  }
  return sequence;
}

/** The first of one sequence, whatever their number: the more classes, the nearer the last of them. */
export function categorical(classes: number): Rgb[] {
  const colours = classes <= EIGHT.length ? EIGHT : distinct();
  return Array.from({ length: classes }, (_, i) => colours[i % colours.length]!);
}

const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"].map(hex);
const DIVERGING = ["#2166ac", "#4393c3", "#92c5de", "#c9ced6", "#f4a582", "#d6604d", "#b2182b"].map(hex);

function along(stops: Rgb[], t: number): Rgb {
  const x = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x));
  return [0, 1, 2].map((c) => Math.round(stops[i]![c]! + (x - i) * (stops[i + 1]![c]! - stops[i]![c]!))) as Rgb;
}

/** The darkest violet is lost on a dark page and the brightest yellow on a light one, so each theme leaves out one end. */
export function sequential(t: number, dark: boolean): Rgb {
  return along(VIRIDIS, dark ? 0.12 + 0.88 * t : 0.93 * t);
}

export const diverging = (t: number): Rgb => along(DIVERGING, t);

export const css = (rgb: Rgb) => `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]})`;
