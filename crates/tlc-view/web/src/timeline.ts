// Time: the slider over epochs, play, speed, loop, ghost and trails.
import { fill, h, icon, iconButton, reducedMotion, select, setPressed } from "./dom";
import { plainName } from "./format";
import type { Ghost, Store } from "./store";

/** Seconds from one epoch to the next at speed 1, and how long each epoch then rests. */
const MOVE = 0.9, REST = 0.35, END_REST = 1.2;

export class Timeline {
  readonly element: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly ticks = h("div", { class: "ticks", "aria-hidden": "true" });
  private readonly label = h("output", { class: "step-label" });
  private readonly playButton: HTMLButtonElement;
  private readonly trails: HTMLButtonElement;
  private readonly loop: HTMLButtonElement;
  private readonly ghost: HTMLSelectElement;
  private readonly speed: HTMLSelectElement;
  private phase = 0;
  private lastTick = 0;

  constructor(private readonly store: Store) {
    this.slider = h("input", { type: "range", min: 0, step: "any", class: "time", "aria-label": "Epoch" });
    this.slider.addEventListener("input", () => { this.stop(); store.setTime(Number(this.slider.value)); });
    this.slider.addEventListener("change", () => { if (!store.playing) this.go(store.step); });
    this.slider.addEventListener("keydown", (event) => {
      const moves: Record<string, number> = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 5, PageDown: -5, Home: -1e9, End: 1e9 };
      const move = moves[event.key];
      if (move === undefined) return;
      event.preventDefault();
      this.by(move);
    });
    this.playButton = iconButton("play", "Play", () => this.toggle(), "Space");
    this.loop = iconButton("loop", "Loop", () => store.option("loop", !store.loop));
    this.trails = h("button", { type: "button", class: "text-button", title: "World lines of the selection over all epochs (T)", onclick: () => store.option("trails", !store.trails) }, icon("trails"), "Trails");
    this.ghost = select<Ghost>("Ghost: another epoch as faint points", [{ value: "none", text: "No ghost" }, { value: "first", text: "Ghost: first" }, { value: "previous", text: "Ghost: previous" }], store.ghost, (v) => store.option("ghost", v as Ghost));
    this.speed = select("Speed", [0.25, 0.5, 1, 2, 4].map((v) => ({ value: v, text: `${v} ×` })), store.speed, (v) => store.option("speed", Number(v)));
    this.element = h("section", { class: "timeline", "aria-label": "Time" },
      this.playButton, this.label, h("div", { class: "track" }, this.slider, this.ticks), h("div", { class: "time-options" }, this.speed, this.loop, this.ghost, this.trails));
    store.on(["time", "manifest", "options", "views"], () => this.render());
    store.on("manifest", () => this.renderTicks());
  }

  renderTicks(): void {
    const { steps } = this.store;
    const last = steps.length - 1;
    const every = Math.max(1, Math.ceil(steps.length / 12));
    fill(this.ticks, ...steps.map((step, i) => {
      const named = i % every === 0 && (i + every <= last || i === last) || i === last;
      return h("span", { class: named ? "tick named" : "tick", style: { left: `${last === 0 ? 50 : (100 * i) / last}%` } }, named ? (step.epoch !== null ? String(step.epoch) : step.label) : "");
    }));
    this.slider.max = String(Math.max(0, last));
    // A single table without an epoch has nothing to tell here.
    this.element.hidden = steps.length < 2 && (steps[0]?.epoch ?? null) === null;
    this.element.classList.toggle("single", steps.length < 2);
    this.render();
  }

  render(): void {
    const { store } = this;
    this.slider.value = String(store.time);
    const label = plainName(store.steps[store.step]?.label ?? "no epochs");
    this.label.textContent = label;
    this.label.title = label;
    this.slider.setAttribute("aria-valuetext", label);
    const name = store.playing ? "Pause" : "Play";
    if (this.playButton.getAttribute("aria-label") !== name) {
      this.playButton.setAttribute("aria-label", name);
      this.playButton.title = `${name} (Space)`;
      fill(this.playButton, icon(store.playing ? "pause" : "play"));
    }
    setPressed(this.loop, store.loop);
    setPressed(this.trails, store.trails);
    this.ghost.value = store.ghost;
    this.speed.value = String(store.speed);
  }

  by(steps: number): void { this.stop(); this.go(Math.min(this.store.steps.length - 1, Math.max(0, this.store.step + steps))); }

  /** Glides to a step. */
  go(to: number): void {
    const { store } = this;
    const from = store.time, start = performance.now();
    const duration = reducedMotion() || Math.abs(to - from) > 3 ? 0 : 220;
    this.stop();
    const mine = ++this.glide;
    const tick = () => {
      if (mine !== this.glide) return;
      const t = duration === 0 ? 1 : Math.min(1, (performance.now() - start) / duration);
      store.setTime(from + (to - from) * t);
      if (t < 1) requestAnimationFrame(tick);
    };
    tick();
  }
  private glide = 0;

  stop(): void {
    this.glide++;
    if (!this.store.playing) return;
    this.store.playing = false;
    this.render();
  }

  toggle(): void {
    const { store } = this;
    if (store.playing) { this.stop(); this.go(store.step); return; }
    if (store.steps.length < 2) { store.tell("There is only one epoch to show."); return; }
    this.glide++;
    if (store.time >= store.steps.length - 1) store.setTime(0);
    store.playing = true;
    this.phase = 0;
    this.lastTick = performance.now();
    this.render();
    requestAnimationFrame(this.tick);
  }

  /** Are the positions of a step here (asks for them if not)? Playing waits for them rather than showing holes. */
  private ready(step: number): boolean {
    const { store } = this;
    return store.views.every((view, i) => store.datasetsOf(i).every((dataset) => {
      const table = store.tableAt(view.layout, dataset, step);
      return table === undefined || store.wantCoords(view.layout, table) !== undefined;
    }));
  }

  private tick = () => {
    const { store } = this;
    if (!store.playing) { this.render(); return; }
    const now = performance.now();
    const dt = Math.min(0.25, (now - this.lastTick) / 1000) * store.speed;
    this.lastTick = now;
    const last = store.steps.length - 1;
    const base = Math.floor(store.time + 1e-9);
    if (base >= last) {
      this.phase += dt;
      if (this.phase > END_REST) {
        if (!store.loop) { this.stop(); return; }
        store.setTime(0);
        this.phase = 0;
      }
    } else if (this.ready(base + 1)) {
      this.phase += dt;
      const moved = Math.min(1, Math.max(0, (this.phase - REST) / MOVE));
      if (moved >= 1) { store.setTime(base + 1); this.phase = 0; } else if (!reducedMotion() && moved > 0) store.setTime(base + moved);
    }
    requestAnimationFrame(this.tick);
  };
}
