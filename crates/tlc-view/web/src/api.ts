// Where data comes from: the server's HTTP API, or the data embedded in an exported single file.
// Both stand behind `Source`, so nothing else in the page knows which it is.

export interface Dataset { id: number; name: string; rows: number; images: boolean; text: boolean }
export interface TableInfo { id: number; dataset: number; epoch: number | null; name: string; rows: number; urls: string[] }
export interface Layout {
  id: number; name: string; dims: 2 | 3; method: string; source: string; args: Record<string, unknown>;
  fitted_table: number | null; tables: number[]; min: number[]; max: number[]; ood: boolean;
}
export type Kind = "category" | "number" | "boolean" | "text";
export interface ColumnInfo {
  name: string; kind: Kind; role: "label" | "prediction" | "loss" | "confidence" | "epoch" | null;
  classes: string[] | null; per: "table" | "dataset";
}
/** Least and greatest value of columns of numbers, over all tables. */
export type Ranges = Record<string, [number, number]>;
export interface FinderInfo { id: string; title: string; rule: string; needs_epochs: boolean }
/** Work of the server that takes long; `total` 0 = unknown. */
export interface Job {
  state: "none" | "running" | "done" | "failed" | "cancelled"; title: string;
  tasks: { name: string; done: number; total: number }[]; error: string | null; advice: string | null;
}
export interface Reducible { columns: string[]; methods: string[] }
export interface ReduceRequest { method: string; n_components: 2 | 3; columns: string[] | null; args?: Record<string, unknown> }
export interface Manifest {
  format: string; title: string; kind: "run" | "table" | "project"; run: string | null; runs: string[];
  status: "running" | "completed" | "interrupted" | null;
  datasets: Dataset[]; tables: TableInfo[]; layouts: Layout[]; columns: ColumnInfo[]; finders: FinderInfo[];
  message: { title: string; advice: string } | null;
  /** What is missing beside what is shown. */
  notice?: { title: string; advice: string } | null;
  /** Another one where the numbers of datasets, tables and layouts mean something else. */
  version?: string | null;
  /** The layout to show first. */
  layout?: number | null;
  job?: Job | null;
  /** What the server can make layouts of; null if it cannot. */
  reduce?: Reducible | null;
}
export interface Sample { values: Record<string, unknown>; text: string | null; file: string | null }
export interface Neighbour { example_id: number; distance: number }
export interface Neighbours { space: string; note: string | null; neighbours: Neighbour[] }
export interface Found { title: string; rule: string; rows: { example_id: number; score: number; why: string }[] }
export interface Numbers {
  epochs: { table: number; epoch: number | null; dataset: number; means: Record<string, number | null> }[];
  drift: { layout: number; dataset: number; from: number; to: number; median: number; share: number; spread: number }[];
  quality: { layout: number; table: number; report: Record<string, unknown> }[];
  lineage: { table: number; text: string }[];
}
export interface Quality {
  layout: number; table: number; space: string | null; note: string | null;
  lines: { name: string; value: number | null; standard_error: number | null; of: string }[];
}
/** Without a layout there are no places to go with the rows. */
export interface ExportRequest { table: number; layout: number | null; example_ids: number[]; format: "csv" | "json" | "parquet" }
export interface SpriteSheet { size: number; per_row: number; png: string; slots: number[] }

/** What went wrong and what to do about it; every failure of a source is one of these. */
export class ApiError extends Error {
  readonly advice: string;
  readonly status: number;
  constructor(message: string, advice: string, status: number) {
    super(message);
    this.advice = advice;
    this.status = status;
  }
}

/** The server has other tables than the manifest at hand; a newer one is being read. */
export class StaleError extends ApiError {
  constructor() { super("The tables have changed meanwhile, and the page reads them again.", "Do it once more.", 409); }
}

export interface Source {
  /** The manifest's, which its numbers go with. */
  version: string | null;
  /** Called when the server refuses numbers of an older manifest. */
  onStale: () => void;
  /** False for a single file on disk: there is nobody to compute or to store anything. */
  readonly live: boolean;
  manifest(): Promise<Manifest>;
  coords(layout: number, table: number): Promise<Uint8Array>;
  column(name: string, table: number): Promise<Uint8Array>;
  ids(dataset: number): Promise<Uint8Array>;
  /** Takes as long as reading all tables, so not before there is a map. */
  ranges(): Promise<Ranges>;
  thumbUrl(dataset: number, exampleId: number): string | null;
  sprites(dataset: number): SpriteSheet | null;
  sample(dataset: number, exampleId: number, table: number, stop?: AbortSignal): Promise<Sample>;
  /** Takes a while, so that whoever looks on should stop it. */
  knn(layout: number, table: number, exampleId: number, k: number, stop: AbortSignal): Promise<Neighbours>;
  find(finder: string, layout: number, table: number, limit: number): Promise<Found>;
  numbers(): Promise<Numbers>;
  /** Takes seconds. */
  quality(layout: number, table: number): Promise<Quality>;
  job(): Promise<Job>;
  reduce(request: ReduceRequest): Promise<Job>;
  cancelJob(): Promise<Job>;
  export(request: ExportRequest): Promise<Blob>;
  revision(dataset: number, exampleIds: number[], name: string, description: string): Promise<{ url: string }>;
}

export class HttpSource implements Source {
  readonly live = true;
  version: string | null = null;
  onStale: () => void = () => undefined;
  private readonly run: string | null;

  constructor() {
    this.run = new URLSearchParams(location.search).get("run");
  }

  private url(path: string, query: Record<string, string | number> = {}): URL {
    const url = new URL(`api/${path}`, document.baseURI);
    url.hash = "";
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, String(value));
    if (this.run !== null) url.searchParams.set("run", this.run);
    return url;
  }

  /** For requests with numbers of the manifest, which only mean something together with its version. */
  private numbered(path: string, query: Record<string, string | number> = {}): URL {
    return this.url(path, this.version === null ? query : { ...query, v: this.version });
  }

  private async request(url: URL, body?: unknown, stop?: AbortSignal): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(url, body === undefined ? { signal: stop ?? null } : {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal: stop ?? null,
      });
    } catch (error) {
      if (stop?.aborted) throw error;
      throw new ApiError("The server is gone.", "Start “tlc view” again, then reload this page.", 0);
    }
    if (response.status === 409 && url.searchParams.has("v")) { this.onStale(); throw new StaleError(); }
    if (!response.ok) {
      let error = `The server answered ${response.status}.`;
      let advice = "Reload the page; if it happens again, look at the terminal that runs “tlc view”.";
      try {
        const told = await response.json() as { error?: string; advice?: string };
        error = told.error ?? error;
        advice = told.advice ?? advice;
      } catch { /* not JSON: keep our own words */ }
      throw new ApiError(error, advice, response.status);
    }
    return response;
  }

  private async bytes(url: URL): Promise<Uint8Array> {
    return new Uint8Array(await (await this.request(url)).arrayBuffer());
  }

  private async json<T>(url: URL, body?: unknown, stop?: AbortSignal): Promise<T> {
    const response = await this.request(url, body, stop);
    try {
      return await response.json() as T;
    } catch (error) {
      if (stop?.aborted) throw error;
      throw new ApiError("The server's answer could not be read.", "Is something else listening on this address? Start “tlc view” again.", response.status);
    }
  }

  manifest() { return this.json<Manifest>(this.url("manifest")); }
  coords(layout: number, table: number) { return this.bytes(this.numbered("coords", { layout, table })); }
  column(name: string, table: number) { return this.bytes(this.numbered("column", { name, table })); }
  ids(dataset: number) { return this.bytes(this.numbered("ids", { dataset })); }
  ranges() { return this.json<Ranges>(this.numbered("ranges")); }
  thumbUrl(dataset: number, exampleId: number) { return this.numbered(`thumb/${dataset}/${exampleId}`).href; }
  sprites() { return null; }
  sample(dataset: number, exampleId: number, table: number, stop?: AbortSignal) { return this.json<Sample>(this.numbered(`sample/${dataset}/${exampleId}`, { table }), undefined, stop); }
  knn(layout: number, table: number, exampleId: number, k: number, stop: AbortSignal) {
    return this.json<Neighbours>(this.numbered("knn"), { layout, table, example_id: exampleId, k, space: "embedding" }, stop);
  }
  find(finder: string, layout: number, table: number, limit: number) {
    return this.json<Found>(this.numbered(`find/${encodeURIComponent(finder)}`, { layout, table, limit }));
  }
  numbers() { return this.json<Numbers>(this.numbered("numbers")); }
  quality(layout: number, table: number) { return this.json<Quality>(this.numbered("quality", { layout, table })); }
  job() { return this.json<Job>(this.url("job")); }
  reduce(request: ReduceRequest) { return this.json<Job>(this.url("reduce"), request); }
  cancelJob() { return this.json<Job>(this.url("job/cancel"), {}); }
  async export(request: ExportRequest) { return (await this.request(this.numbered("export"), request)).blob(); }
  revision(dataset: number, exampleIds: number[], name: string, description: string) {
    return this.json<{ url: string }>(this.numbered("revision"), { dataset, example_ids: exampleIds, name, description });
  }
}

interface Embedded { manifest: Manifest; files: Record<string, unknown>; thumbs?: Record<string, SpriteSheet> }

export class EmbeddedSource implements Source {
  readonly live = false;
  version: string | null = null;
  onStale: () => void = () => undefined;
  private readonly data: Embedded;

  constructor(text: string) {
    this.data = JSON.parse(text) as Embedded;
  }

  /** Query strings may be written with other escapes than ours, so the key is looked up by its decoded form too. */
  private file(key: string): unknown {
    const files = this.data.files;
    if (Object.hasOwn(files, key)) return files[key];
    const plain = (text: string) => { try { return decodeURIComponent(text.replaceAll("+", " ")); } catch { return text; } };
    const wanted = plain(key);
    const found = Object.keys(files).find((name) => plain(name) === wanted);
    return found === undefined ? undefined : files[found];
  }

  private async bytes(key: string): Promise<Uint8Array> {
    const text = this.file(key);
    if (typeof text !== "string") throw new ApiError("This is not part of the exported file.", "Open the run with “tlc view” to see everything.", 404);
    const binary = atob(text);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  private needsServer(): never {
    throw new ApiError("This needs the server.", "Open the run with “tlc view”.", 501);
  }

  async manifest() { return this.data.manifest; }
  coords(layout: number, table: number) { return this.bytes(`coords?layout=${layout}&table=${table}`); }
  /** The key of what a table has in the file; of what is the same for all tables of a dataset, that of the table it is there with. */
  private keyOf(table: number, shared: boolean, key: (table: number) => string): string {
    const { tables } = this.data.manifest;
    const dataset = tables.find(({ id }) => id === table)?.dataset;
    const all = shared ? tables.filter((other) => other.dataset === dataset).map(({ id }) => key(id)) : [];
    return [key(table), ...all].find((name) => this.file(name) !== undefined) ?? key(table);
  }
  column(name: string, table: number) {
    const shared = this.data.manifest.columns.find((column) => column.name === name)?.per === "dataset";
    return this.bytes(this.keyOf(table, shared, (id) => `column?name=${encodeURIComponent(name)}&table=${id}`));
  }
  ids(dataset: number) { return this.bytes(`ids?dataset=${dataset}`); }
  async ranges(): Promise<Ranges> { return (this.file("ranges") as Ranges | undefined) ?? {}; }
  thumbUrl() { return null; }
  sprites(dataset: number) { return this.data.thumbs?.[String(dataset)] ?? null; }
  async sample(): Promise<Sample> { return this.needsServer(); }
  async knn(): Promise<Neighbours> { return this.needsServer(); }
  async find(finder: string, layout: number, table: number, limit: number): Promise<Found> {
    // What is found over all epochs is the same at each of them.
    const shared = this.data.manifest.finders.find(({ id }) => id === finder)?.needs_epochs === true;
    const found = this.file(this.keyOf(table, shared, (id) => `find/${finder}?layout=${layout}&table=${id}`)) as Found | undefined;
    if (found === undefined) throw new ApiError("This list is not part of the exported file for the epoch and layout shown.", "Show the last epoch, or open the run with “tlc view”.", 404);
    return { ...found, rows: found.rows.slice(0, limit) };
  }
  async numbers(): Promise<Numbers> {
    return (this.file("numbers") as Numbers | undefined) ?? { epochs: [], drift: [], quality: [], lineage: [] };
  }
  async quality(layout: number, table: number): Promise<Quality> {
    const found = this.file(`quality?layout=${layout}&table=${table}`);
    if (found === undefined) throw new ApiError("The report of this layout and epoch is not part of the exported file.", "Open the run with “tlc view” to compute it.", 404);
    return found as Quality;
  }
  async job(): Promise<Job> { return this.needsServer(); }
  async reduce(): Promise<Job> { return this.needsServer(); }
  async cancelJob(): Promise<Job> { return this.needsServer(); }
  async export(): Promise<Blob> { return this.needsServer(); }
  async revision(): Promise<{ url: string }> { return this.needsServer(); }
}

export function openSource(): Source {
  const embedded = document.getElementById("tlc-data");
  return embedded === null ? new HttpSource() : new EmbeddedSource(embedded.textContent ?? "");
}
