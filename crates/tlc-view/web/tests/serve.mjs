// Real servers and real tables for the tests: starts the binary TLC_BIN, makes tables with `tlc import`, copies projects.
// Everything is in one temporary folder, which is removed at the end.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fixedSizeList, float32, int32, tableFromArrays, tableToIPC, utf8 } from "@uwdata/flechette";

export const bin = process.env.TLC_BIN;
/** A project with a run that has several epochs, such as `tlc demo --no-view` makes it. */
export const project = process.env.TLC_VIEW_PROJECT;

let folder;
const temporary = () => (folder ??= mkdtempSync(join(tmpdir(), "tlc-view-")));
const servers = new Set();

/** Runs `tlc view WHAT…` and waits for its address; `stop` ends it, `pid` is its process. */
export async function serve(...what) {
  const child = spawn(bin, ["view", "--port", "0", ...what], { stdio: ["ignore", "pipe", "pipe"] });
  servers.add(child);
  let said = "";
  child.stderr.on("data", (data) => { said += data; });
  const url = await new Promise((resolve, reject) => {
    let out = "";
    child.stdout.on("data", (data) => { out += data; const found = out.match(/http:\/\/\S+/); if (found) resolve(found[0]); });
    child.on("exit", (code) => reject(new Error(`tlc view ${what.join(" ")} ended with ${code}: ${said}`)));
  });
  const stop = () => new Promise((done) => {
    servers.delete(child);
    if (child.exitCode !== null) { done(); return; }
    child.once("exit", done);
    child.kill("SIGINT");
  });
  return { url, stop, pid: child.pid };
}

/** Stops what still runs and removes what was made. */
export function cleanUp() {
  for (const child of servers) child.kill("SIGKILL");
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

let copies = 0;
/** A copy of the project, to be spoilt. */
export function copyOfProject() {
  const copy = join(temporary(), `project-${copies++}`);
  cpSync(project, copy, { recursive: true });
  return copy;
}

export const role = (name, more = {}) => ({ "tlc:number_role": name, ...more });
export const classes = (names) => ({ "tlc:value_map": JSON.stringify(Object.fromEntries(names.map((name, i) => [i, name]))) });

const TYPES = { vector8: () => fixedSizeList(float32(), 8), map2: () => fixedSizeList(float32(), 2), map3: () => fixedSizeList(float32(), 3), number: float32, class: int32, text: utf8 };

/** Makes a table of columns `{ name: { kind, values, metadata } }` and returns its URL. */
export function table(name, columns) {
  const names = Object.keys(columns);
  const arrow = tableFromArrays(names.map((key) => [key, columns[key].values]), { types: Object.fromEntries(names.map((key) => [key, TYPES[columns[key].kind]()])) });
  for (const field of arrow.schema.fields) field.metadata = new Map(Object.entries(columns[field.name].metadata ?? {}));
  const file = join(temporary(), `${name}.arrow`);
  writeFileSync(file, tableToIPC(arrow, { format: "file" }));
  const out = execFileSync(bin, ["import", "--project", join(temporary(), "tables"), "--dataset", name, file], { encoding: "utf8" });
  return out.match(/file:\S+/)[0];
}

/** The rows of a file of any format that tlc imports, as CSV. */
export function rowsOf(file) {
  const out = execFileSync(bin, ["import", "--project", join(temporary(), "tables"), "--dataset", "read", file], { encoding: "utf8" });
  return execFileSync(bin, ["select", "--table", out.match(/file:\S+/)[0], "--where", "true"], { encoding: "utf8", maxBuffer: 1 << 28 });
}

export const filePath = (name) => join(temporary(), name);

/** Writes a file and returns its path. */
export function file(name, text) {
  const path = filePath(name);
  writeFileSync(path, text);
  return path;
}

/** Places on a spiral, so that no two coincide. */
export const spiral = (n, dims = 2) => Array.from({ length: n }, (_, i) => {
  const r = Math.sqrt(i + 1), a = i * 2.39996;
  return [r * Math.cos(a), r * Math.sin(a), ...(dims === 3 ? [Math.sin(i / 10) * r] : [])];
});
