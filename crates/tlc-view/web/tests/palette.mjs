// Whether pictures have the page's colours of classes: node tests/palette.mjs [plot/palette.rs]
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const rust = process.argv[2] ?? join(web, "../src/plot/palette.rs");

const hex = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

/** What the page computes: the first colours of its sequence. */
async function ofPage(classes) {
  const { outputFiles } = await esbuild.build({ entryPoints: [join(web, "src/palette.ts")], bundle: true, write: false, format: "esm" });
  const { categorical } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
  return categorical(classes).map(hex);
}

/** What the Rust file lists. */
function ofPictures() {
  const list = /const CLASSES: \[\[u8; 3\]; (\d+)\] = \[(.*?)\n\];/s.exec(readFileSync(rust, "utf8"));
  if (!list) throw new Error(`${rust} has no CLASSES`);
  const colours = [...list[2].matchAll(/\[0x(..), 0x(..), 0x(..)\]/g)].map((rgb) => `#${rgb.slice(1).join("")}`);
  if (colours.length !== Number(list[1])) throw new Error(`of ${list[1]} colours in ${rust}, ${colours.length} can be read`);
  return colours;
}

const listed = ofPictures();
const computed = await ofPage(listed.length);
const different = listed.flatMap((colour, i) => (colour === computed[i] ? [] : [`class ${i} is ${colour}, the page has ${computed[i]}`]));
if (different.length > 0) {
  console.error(`${rust} does not have the page's colours:\n${different.join("\n")}`);
  process.exitCode = 1;
} else console.log(`pictures have the page's ${listed.length} colours of classes`);
