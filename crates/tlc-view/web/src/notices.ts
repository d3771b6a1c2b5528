// Messages: short notices that go away, and the box that takes the map's place when it cannot be shown.
import { fill, h, iconButton } from "./dom";
import { makeReduceForm, type Jobs } from "./reduce";
import type { Store } from "./store";

export function makeNotices(store: Store): HTMLElement {
  const box = h("div", { class: "notices" }, h("div", { role: "status", "aria-live": "polite" }), h("div", { role: "alert" }));
  let timer = 0;
  store.on("notice", () => {
    const { notice } = store;
    const [polite, alert] = [box.children[0]!, box.children[1]!];
    fill(polite);
    fill(alert);
    clearTimeout(timer);
    if (notice === null) return;
    const clear = () => { store.notice = null; store.emit("notice"); };
    fill(notice.bad ? alert : polite, h("div", { class: `notice card${notice.bad ? " bad" : ""}` }, h("div", {}, h("p", { dir: "auto" }, notice.text), notice.advice !== "" && h("p", { class: "quiet", dir: "auto" }, notice.advice)),
      notice.action !== null && h("button", { type: "button", class: "text-button", onclick: () => { clear(); notice.action!.run(); } }, notice.action.text), iconButton("close", "Close the message", clear)));
    timer = window.setTimeout(clear, notice.bad || notice.action !== null ? 20_000 : 5_000);
  });
  return box;
}

export function makeTrouble(store: Store, jobs: Jobs, glWorks: () => boolean, retry: () => void): HTMLElement {
  const box = h("div", { class: "trouble", role: "alert", hidden: true });
  const render = () => {
    const { manifest, trouble } = store;
    let shown = trouble;
    if (shown === null && store.views.length === 0) {
      shown = { title: manifest.message?.title ?? "There is no layout yet.", advice: manifest.message?.advice ?? "Reduce the embeddings first: tlc reduce …", retry: "Look again" };
    } else if (shown === null && manifest.message !== null) shown = { ...manifest.message, retry: "Look again" };
    else if (shown === null && store.shownDatasets().every((d) => store.points.get(d)!.info.rows === 0)) shown = { title: "There are no rows to show.", advice: "Choose another dataset or layout above, or look at the table's lineage under Numbers.", retry: "Look again" };
    else if (shown === null && !glWorks()) {
      shown = { title: "This browser cannot draw the map: it has no WebGL2.", advice: "Switch on hardware acceleration (or software WebGL) in the browser's settings, or use a current Firefox, Chrome, Edge or Safari. Table, lists and numbers work here; “tlc plot” makes pictures without a browser.", retry: null };
    }
    // While the server makes a layout its progress stands here instead.
    box.hidden = shown === null || (store.views.length === 0 && jobs.running);
    if (shown === null) return;
    const form = store.views.length === 0 && store.trouble === null ? makeReduceForm(store, jobs) : null;
    const job = store.job?.state === "failed" || store.job?.state === "cancelled" ? store.job : null;
    fill(box, h("div", { class: "card" }, h("h2", { dir: "auto" }, shown.title), h("p", { dir: "auto" }, shown.advice),
      form !== null && job !== null && h("p", { class: job.state === "failed" ? "bad" : "", dir: "auto" }, job.state === "failed" ? `${job.error ?? "The reduction failed."} ${job.advice ?? ""}` : "Stopped; nothing was written."),
      form ?? false, form === null && shown.retry !== null && h("button", { type: "button", class: "text-button primary", onclick: retry }, shown.retry)));
  };
  store.on(["trouble", "manifest", "views", "job"], render);
  return box;
}
