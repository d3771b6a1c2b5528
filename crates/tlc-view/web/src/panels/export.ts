// Taking the selection away: files, a new table revision, a filter for the command line, a link.
import { ApiError, type ColumnInfo } from "../api";
import type { Column } from "../arrow";
import { download, fill, h } from "../dom";
import { className, plural, shellQuote } from "../format";
import { DATASET_COLOUR } from "../scale";
import type { Store } from "../store";

interface Part { dataset: number; table: number; layout: number | null; ids: number[]; slots: Uint32Array }

/** What would be exported: the selection, or what passes the filters. */
async function parts(store: Store): Promise<Part[]> {
  const out: Part[] = [];
  for (const { dataset, slots } of store.selection.rows()) {
    await store.data.loadIds(dataset);
    const table = store.currentTable(dataset);
    if (table === undefined) continue;
    const view = store.views.find((_, i) => store.datasetsOf(i).includes(dataset));
    out.push({ dataset, table, layout: view?.layout ?? null, slots, ids: Array.from(slots, (slot) => store.data.idOf(dataset, slot)!) });
  }
  if (out.length === 0) throw new ApiError("There is nothing to take away.", "Nothing is selected and nothing passes the filters.", 0);
  return out;
}

const safeName = (text: string) => text.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80) || "rows";

/** CSV and JSON without a server, for the exported file. */
async function localRows(store: Store, part: Part): Promise<{ names: string[]; rows: unknown[][] }> {
  const columns: { info: ColumnInfo; values: Column }[] = [];
  for (const info of store.manifest.columns) {
    try { columns.push({ info, values: await store.data.values(info.name, part.table) }); } catch { /* not part of the file */ }
  }
  const layout = part.layout === null ? undefined : store.layouts.get(part.layout);
  const coords = layout === undefined ? undefined : await store.data.coords(layout.id, part.table).catch(() => undefined);
  const axes = layout === undefined || coords === undefined ? [] : ["x", "y", "z"].slice(0, layout.dims);
  const rows = Array.from(part.slots, (slot, i) => {
    const row: unknown[] = [part.ids[i]];
    for (const { info, values } of columns) {
      if (values.floats) row.push(Number.isNaN(values.floats[slot]!) ? null : Number(values.floats[slot]!.toPrecision(7)));
      else if (values.texts) row.push(values.texts[slot]);
      else { const v = values.ints![slot]!; row.push(v < 0 ? null : info.kind === "boolean" ? v === 1 : className(info.classes, v)); }
    }
    axes.forEach((_, c) => row.push(coords!.xyzw[4 * slot + 3] === 0 ? null : Number((layout!.min[c]! + ((layout!.max[c]! - layout!.min[c]!) * coords!.xyzw[4 * slot + c]!) / 65535).toPrecision(7))));
    return row;
  });
  return { names: ["example_id", ...columns.map((c) => c.info.name), ...axes], rows };
}

/** Quotes for CSV; a leading = + - @ in text would be run by spreadsheets, so it gets an apostrophe. */
function csvCell(v: unknown): string {
  if (v === null || v === undefined) return "";
  let text = String(v);
  if (typeof v === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export async function exportAs(store: Store, format: "csv" | "json" | "parquet"): Promise<void> {
  try {
    for (const part of await parts(store)) {
      const name = `${safeName(store.table(part.table)?.name ?? "rows")}-selection.${format}`;
      let blob: Blob;
      if (store.source.live) blob = await store.source.export({ table: part.table, layout: part.layout, example_ids: part.ids, format });
      else {
        const { names, rows } = await localRows(store, part);
        const text = format === "csv" ? [names, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n"
          : JSON.stringify(rows.map((row) => Object.fromEntries(names.map((key, i) => [key, row[i]]))), null, 1);
        blob = new Blob([text], { type: format === "csv" ? "text/csv" : "application/json" });
      }
      download(blob, name);
      store.tell(`${name}: ${plural(part.ids.length, "row")}`);
    }
  } catch (error) { store.fail(error); }
}

const column = (name: string) => (/^[A-Za-z_]\w*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** Hidden classes as a condition: what is hidden or what is left, whichever is shorter. Rows without a value stay unless hidden too. */
function classCondition(store: Store, info: ColumnInfo, hidden: Set<number>): string {
  const names = store.scales.namesOf(info).map((name) => (typeof name === "string" ? literal(name) : String(name)));
  const [off, on] = [true, false].map((wanted) => names.filter((_, i) => hidden.has(i + 1) === wanted));
  const inverse = on!.length < off!.length, listed = inverse ? on! : off!;
  const name = column(info.name);
  if (listed.length === 0) return inverse && hidden.has(0) ? "false" : `${name} IS ${inverse ? "" : "NOT "}NULL`;
  const condition = `${name} ${inverse ? "IN" : "NOT IN"} (${listed.join(", ")})`;
  return hidden.has(0) ? condition : `(${condition} OR ${name} IS NULL)`;
}

/** The filters in force as an SQL condition. */
function whereClause(store: Store): string {
  const out: string[] = [];
  for (const [key, codes] of store.filters.hidden) {
    const info = key === DATASET_COLOUR ? undefined : store.column(key.slice(1));
    if (info !== undefined) out.push(classCondition(store, info, codes));
  }
  for (const [name, { lo, hi }] of store.filters.ranges) {
    if (Number.isFinite(lo)) out.push(`${column(name)} >= ${lo}`);
    if (Number.isFinite(hi)) out.push(`${column(name)} <= ${hi}`);
  }
  if (store.filters.onlyWrong) out.push(`${column(store.role("label")!.name)} <> ${column(store.role("prediction")!.name)}`);
  return out.join(" AND ");
}

/** For `tlc select`: the filters as a condition; a selection, which no condition says, as ids for its `--ids`. */
async function filterText(store: Store): Promise<string> {
  const lines: string[] = [];
  for (const part of await parts(store)) {
    const urls = store.table(part.table)?.urls ?? [];
    if (store.selection.chosen === 0) lines.push(...urls.map((url) => `tlc select --table ${shellQuote(url)} --where ${shellQuote(whereClause(store) || "true")}`));
    else lines.push(JSON.stringify({ ...(urls.length === 1 ? { table: urls[0] } : { tables: urls }), example_ids: part.ids }));
  }
  return lines.join("\n");
}

export async function copyText(store: Store, text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    store.tell(`${what} copied.`);
  } catch {
    // Without https or a click the clipboard is closed: show the text to copy by hand.
    const area = h("textarea", { readonly: true, rows: 6, "aria-label": what });
    area.value = text;
    const dialog = h("dialog", { class: "dialog", "aria-label": what }, h("h2", {}, what), area, h("button", { type: "button", class: "text-button", onclick: () => dialog.close() }, "Close"));
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
    area.select();
  }
}

function revisionDialog(store: Store): void {
  const name = h("input", { type: "text", required: true, maxlength: 80, "aria-label": "Name", placeholder: "suspects" });
  const description = h("textarea", { rows: 3, "aria-label": "Description", placeholder: "Why these rows" });
  const said = h("p", { class: "quiet", role: "status" });
  const cancel = h("button", { type: "button", class: "text-button", onclick: () => dialog.close() }, "Cancel");
  const save = h("button", { type: "submit", class: "text-button primary" }, "Save");
  const rows = store.selection.rows();
  const form = h("form", {}, h("label", { class: "field" }, "Name", name), h("label", { class: "field" }, "Description", description), said,
    h("div", { class: "dialog-actions" }, cancel, save));
  const dialog = h("dialog", { class: "dialog", "aria-label": "Save as table revision" }, h("h2", {}, "Save as table revision"),
    h("p", { class: "quiet" }, `A new table with ${plural(rows.reduce((sum, r) => sum + r.slots.length, 0), "row")}; where they come from is written down in its lineage.`), form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save.disabled = true;
    void (async () => {
      try {
        const urls: string[] = [];
        const all = await parts(store);
        for (const part of all) {
          const suffix = all.length > 1 ? `-${store.points.get(part.dataset)!.info.name}` : "";
          urls.push((await store.source.revision(part.dataset, part.ids, name.value.trim() + suffix, description.value.trim())).url);
        }
        fill(said, "Saved: ", ...urls.map((url) => h("code", {}, url)));
        save.hidden = true;
        cancel.textContent = "Close";
      } catch (error) {
        said.textContent = error instanceof ApiError ? `${error.message} ${error.advice}` : String(error);
      } finally { save.disabled = false; }
    })();
  });
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

export function makeTakeAway(store: Store): HTMLElement {
  const button = (text: string, title: string, run: () => void) => h("button", { type: "button", class: "text-button", title, onclick: run }, text);
  const live = store.source.live;
  const element = h("div", { class: "take-away", role: "group", "aria-label": "Take the selection away" },
    button("CSV", "The rows as CSV", () => void exportAs(store, "csv")), button("JSON", "The rows as JSON", () => void exportAs(store, "json")),
    live && button("Parquet", "The rows as Parquet", () => void exportAs(store, "parquet")),
    live && button("Revision…", "A new table of these rows, with its lineage", () => revisionDialog(store)),
    button("Filter", "For the command line: the filters as “tlc select”, a selection as its example ids", () => {
      filterText(store).then((text) => copyText(store, text, "Filter for “tlc select”"), (error: unknown) => store.fail(error));
    }), !live && h("p", { class: "quiet" }, "Parquet, revisions and neighbours in embedding space need a server: open the run with “tlc view”."));
  return element;
}
