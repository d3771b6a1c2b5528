// Builds the page: one script, one style sheet, one HTML file, and a manifest of what went in and came out.
//   node build.mjs          writes dist/
//   node build.mjs --check  builds into a temporary folder and fails if a byte differs from dist/
import { createHash } from "node:crypto";
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const outputs = ["app.js", "app.css", "index.html"];

function filesBelow(folder) {
  return readdirSync(folder).sort().flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

/** What decides the bytes of the bundle; the tests are not part of it. */
function sources() {
  const single = ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"].map((f) => join(here, f));
  return [...single, ...filesBelow(join(here, "src"))];
}

async function build(out) {
  mkdirSync(out, { recursive: true });
  const common = { bundle: true, minify: true, legalComments: "none", charset: "utf8", logLevel: "warning", absWorkingDir: here };
  await esbuild.build({ ...common, entryPoints: ["src/main.ts"], outfile: join(out, "app.js"), format: "iife", target: "es2022" });
  await esbuild.build({ ...common, entryPoints: ["src/app.css"], outfile: join(out, "app.css"), target: ["chrome109", "firefox110", "safari16"] });
  writeFileSync(join(out, "index.html"), readFileSync(join(here, "src/index.html")));

  const lock = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8"));
  const version = (name) => lock.packages[`node_modules/${name}`].version;
  const manifest = {
    tools: Object.fromEntries(["esbuild", "typescript", "@uwdata/flechette"].map((name) => [name, version(name)])),
    sources: Object.fromEntries(sources().map((path) => [relative(here, path).split(sep).join("/"), sha256(path)])),
    outputs: Object.fromEntries(outputs.map((name) => [name, sha256(join(out, name))])),
  };
  writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
}

/** The page must work offline, so nothing in it may point outside; the SVG namespace is a name, not an address. */
function outsideUrls(out) {
  return outputs.flatMap((name) => {
    const text = readFileSync(join(out, name), "utf8").replaceAll("http://www.w3.org/2000/svg", "");
    return (text.match(/https?:\/\/[^\s"'`]+|["'(]\/\/[a-z][^\s"'`]+/g) ?? []).map((url) => `${name}: ${url}`);
  });
}

function report(out) {
  let total = 0;
  for (const name of outputs) {
    const bytes = readFileSync(join(out, name));
    const gz = gzipSync(bytes, { level: 9 }).length;
    total += gz;
    console.log(`${name.padEnd(12)} ${String(bytes.length).padStart(8)} bytes  ${String(gz).padStart(7)} gzip`);
  }
  console.log(`in all       ${String(total).padStart(26)} gzip`);
  if (total > 150_000) throw new Error("the page must stay below 150 kB compressed");
  const urls = outsideUrls(out);
  if (urls.length > 0) throw new Error(`the page points outside:\n${urls.join("\n")}`);
}

if (process.argv.includes("--check")) {
  const out = mkdtempSync(join(tmpdir(), "tlc-view-"));
  try {
    await build(out);
    report(out);
    const stale = [...outputs, "manifest.json"].filter((name) => {
      try {
        return !readFileSync(join(out, name)).equals(readFileSync(join(dist, name)));
      } catch {
        return true;
      }
    });
    if (stale.length > 0) {
      console.error(`dist/ is stale (${stale.join(", ")}): run "npm ci && node build.mjs" in ${here} and commit dist/`);
      process.exitCode = 1;
    } else {
      console.log("dist/ is what the sources build");
    }
  } finally {
    rmSync(out, { recursive: true });
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  await build(dist);
  report(dist);
}
