// Making a layout from the page: what to reduce and how, the server's progress, and a way to stop it.
import { ApiError, type Job, type ReduceRequest } from "./api";
import { fill, h, select } from "./dom";
import { percent } from "./format";
import { METHODS } from "./layoutnames";
import type { Store } from "./store";

const POLL_MS = 500;

/** Follows the server's work, and has the manifest read again when it is done. */
export class Jobs {
  private timer = 0;
  /** Started here: then its layout is shown beside the others as soon as it is there. */
  private own = false;

  constructor(private readonly store: Store, private readonly reload: () => Promise<void>, private readonly showLayout: (id: number) => void) {
    store.on("manifest", () => this.watch());
    this.watch();
  }

  get running(): boolean { return this.store.job?.state === "running"; }

  private watch(): void {
    if (!this.running || !this.store.source.live || this.timer !== 0) return;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      this.store.source.job().then((job) => this.take(job), (error: unknown) => this.take(failure(error)));
    }, POLL_MS);
  }

  private take(job: Job): void {
    const before = this.store.job?.state;
    this.store.job = job;
    this.store.emit("job");
    if (job.state === "running") this.watch();
    else if (before === "running" && job.state === "done") void this.done();
    else this.own = false;
    if (job.state === "failed" && this.store.views.length > 0) this.store.tell(job.error ?? "The reduction failed.", job.advice ?? "", true);
  }

  private async done(): Promise<void> {
    const known = new Set(this.store.manifest.layouts.map((layout) => layout.name));
    await this.reload();
    const made = this.store.manifest.layouts.find((layout) => !known.has(layout.name));
    if (made !== undefined && this.own) this.showLayout(made.id);
    this.own = false;
  }

  /** Answers why the server will not do it, or null. */
  async start(request: ReduceRequest): Promise<Job | null> {
    try {
      const job = await this.store.source.reduce(request);
      this.own = true;
      this.take(job);
      return null;
    } catch (error) { return failure(error); }
  }

  cancel(): void { this.store.source.cancelJob().then((job) => this.take(job), (error: unknown) => this.store.fail(error)); }
}

function failure(error: unknown): Job {
  const known = error instanceof ApiError ? error : null;
  return { state: "failed", title: "", tasks: [], error: known?.message ?? String(error), advice: known?.advice ?? "" };
}

/** Bars of the tasks under way. Changed in place, so that the button keeps the focus. */
export function makeProgress(store: Store, jobs: Jobs): HTMLElement {
  const title = h("h2", { dir: "auto", role: "status" });
  const bars = h("div", { class: "progress-bars" });
  const element = h("div", { class: "progress card", role: "group", "aria-label": "Work of the server", hidden: true }, title, bars, h("button", { type: "button", class: "text-button", onclick: () => jobs.cancel() }, "Stop"));
  const render = () => {
    element.hidden = !jobs.running;
    const { job } = store;
    if (job === null || element.hidden) return;
    if (title.textContent !== job.title) title.textContent = job.title;
    const tasks = job.tasks.length > 0 ? job.tasks : [{ name: "starting", done: 0, total: 0 }];
    fill(bars, ...tasks.map(({ name, done, total }) => {
      const known = total > 0;
      return h("label", { class: "progress-bar" }, h("span", { dir: "auto" }, name), h("span", { class: "quiet" }, known ? percent(done, total) : ""),
        h("progress", known ? { max: total, value: done } : {}));
    }));
  };
  store.on(["job", "manifest"], render);
  render();
  return element;
}

/** Null if the server cannot reduce what is shown. */
export function makeReduceForm(store: Store, jobs: Jobs, started: () => void = () => undefined): HTMLElement | null {
  const { reduce } = store.manifest;
  if (!reduce || !store.source.live || reduce.methods.length === 0) return null;
  const all = "", columns = [{ value: all, text: "all embeddings" }, ...reduce.columns.map((name) => ({ value: name, text: name }))];
  const column = select("Embeddings", columns.length > 2 ? columns : columns.slice(1), columns.length > 2 ? all : columns[1]?.value ?? all, () => undefined);
  const method = select("Method", reduce.methods.map((name) => ({ value: name, text: METHODS[name] ?? name })), reduce.methods[0]!, () => undefined);
  const dims = select("Dimensions", [{ value: 2, text: "2-D" }, { value: 3, text: "3-D" }], 2, () => undefined);
  const args = h("textarea", { rows: 4, spellcheck: "false", "aria-label": "Parameters", dir: "ltr" });
  const hint = () => { args.placeholder = argsOf(store, method.value); };
  method.addEventListener("change", hint);
  hint();
  const refused = h("p", { class: "bad", role: "alert", dir: "auto" });
  const submit = h("button", { type: "submit", class: "text-button primary" }, "Reduce");
  const form = h("form", { class: "reduce-form", "aria-label": "Reduce the embeddings" }, column, method, dims, submit,
    h("details", {}, h("summary", {}, "Parameters"), h("p", { class: "quiet" }, "Those of the method as JSON, as “tlc reduce --args” takes them; what is left out has its default."), args), refused);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void (async () => {
      refused.textContent = "";
      const given = readArgs(args.value);
      args.setAttribute("aria-invalid", String(given === null));
      if (given === null) { refused.textContent = "The parameters are not a JSON object such as {\"n_neighbors\": 30}."; args.focus(); return; }
      submit.disabled = true;
      const why = await jobs.start({ method: method.value, n_components: Number(dims.value) as 2 | 3, columns: column.value === all ? null : [column.value], ...(Object.keys(given).length > 0 ? { args: given } : {}) });
      submit.disabled = false;
      if (why === null) started();
      else fill(refused, why.error ?? "The server refuses.", h("br"), why.advice);
    })();
  });
  return form;
}

/** Null if it is none; nothing written is no arguments. */
function readArgs(text: string): Record<string, unknown> | null {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : null;
  } catch { return null; }
}

/** What a layout made by this method was made with: the names to choose from. */
function argsOf(store: Store, method: string): string {
  const made = store.manifest.layouts.find((layout) => layout.method === method);
  const entries = Object.entries(made?.args ?? {}).filter(([key]) => key !== "n_components");
  return entries.length === 0 ? "{\"n_neighbors\": 30}" : JSON.stringify(Object.fromEntries(entries), null, 1).replaceAll(/\s+/g, " ");
}

export function openReduce(store: Store, jobs: Jobs): void {
  const form = makeReduceForm(store, jobs, () => dialog.close());
  form?.append(h("button", { type: "button", class: "text-button", onclick: () => dialog.close() }, "Cancel"));
  const dialog = h("dialog", { class: "dialog", "aria-label": "Make another layout" }, h("h2", {}, "Make another layout"),
    h("p", { class: "quiet" }, "The server reduces the embeddings with one model for all tables, and shows the layout beside the one at hand. You can go on looking meanwhile."), form);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}
