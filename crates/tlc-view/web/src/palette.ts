// Colours: categorical sets that stay distinct (also for colour-blind people) and ramps for numbers.

export type Rgb = [number, number, number];

const hex = (text: string): Rgb => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)) as Rgb;

// Okabe and Ito's set; its yellow is darkened a little so that it shows on white, its black became a slate that shows on dark.
const EIGHT = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7a8594"].map(hex);

// Twenty: the eight hues above and twelve between them, with lightness as the second cue.
const TWENTY = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7d55c7", "#8c564b", "#7a8594",
  "#00b8a9", "#c2185b", "#7cb342", "#5c6bc0", "#ff8a65", "#2e7d5b", "#b39ddb", "#a1887f", "#0097c4", "#c98a00",
].map(hex);

export const NO_VALUE: Rgb = hex("#8a919c");

function oklch(l: number, c: number, hue: number): Rgb {
  const a = c * Math.cos(hue), b = c * Math.sin(hue);
  const l3 = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m3 = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s3 = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const gamma = (x: number) => Math.round(255 * Math.min(1, Math.max(0, x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055)));
  return [
    gamma(4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3),
    gamma(-1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3),
    gamma(-0.0041960863 * l3 - 0.7034186147 * m3 + 1.707614701 * s3),
  ];
}

/** Beyond twenty the golden angle keeps neighbours in the list far apart in hue; lightness and chroma cycle as further cues. */
function generated(i: number): Rgb {
  const lightness = [0.62, 0.74, 0.52, 0.68, 0.57];
  const chroma = [0.15, 0.12, 0.16, 0.09];
  return oklch(lightness[i % 5]!, chroma[i % 4]!, i * 2.39996323 + 0.4);
}

export function categorical(classes: number): Rgb[] {
  if (classes <= EIGHT.length) return EIGHT.slice(0, classes);
  if (classes <= TWENTY.length) return TWENTY.slice(0, classes);
  return Array.from({ length: classes }, (_, i) => generated(i));
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
