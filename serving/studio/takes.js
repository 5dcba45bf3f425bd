// Takes side by side: a canvas for each, one of them chosen; all are seen by the same camera at the same time.

import { paint } from "./painter.js";

const TURN = 0.01, TURN_BY_KEY = 0.12, ZOOM_BY_KEY = 1.1;

export class Takes extends EventTarget {
  list = []; // {seed, request, song, clip, dance, text, problem}
  chosen = 0;
  showJoints = false;

  constructor(place, camera) {
    super();
    [this.place, this.camera] = [place, camera];
    new ResizeObserver(() => this.dispatchEvent(new Event("look"))).observe(place);
  }

  get take() {
    return this.list[this.chosen] ?? null;
  }

  /** Put other takes on the stage; those without a dance say that they are waited for. */
  show(takes) {
    this.list = takes;
    this.chosen = 0;
    this.place.replaceChildren(...takes.map((take, index) => this.#panel(take, index)));
    this.place.style.setProperty("--count", takes.length);
    this.choose(0);
  }

  choose(index) {
    if (!this.list[index]) return;
    this.chosen = index;
    this.list.forEach((take, i) => take.panel.setAttribute("aria-current", String(i === index)));
    this.dispatchEvent(new Event("choose"));
  }

  /** A take has changed: what is said below it. */
  tell(take, text) {
    take.panel.querySelector("figcaption").textContent = `seed ${take.seed}${text ? ` · ${text}` : ""}`;
    take.panel.setAttribute("aria-busy", String(!take.dance && !take.problem));
  }

  paint(time) {
    for (const { panel, dance } of this.list) {
      const canvas = panel.querySelector("canvas");
      if (!dance || !canvas.clientWidth) continue;
      const scale = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
      const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
      if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
      const context = canvas.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      paint(context, width, height, dance, time, this.camera, this.showJoints);
    }
  }

  #panel(take, index) {
    const panel = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Take ${index + 1}, seed ${take.seed}. Arrow keys turn the camera.`);
    panel.append(canvas, document.createElement("figcaption"));
    take.panel = panel;
    panel.addEventListener("pointerdown", () => this.choose(index));
    canvas.addEventListener("focus", () => this.choose(index));
    this.#steer(canvas);
    this.tell(take, take.dance ? "" : "dancing …");
    return panel;
  }

  #steer(canvas) {
    const look = () => this.dispatchEvent(new Event("look"));
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      this.camera.turn(-event.movementX * TURN, event.movementY * TURN);
      look();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.camera.zoom(Math.exp(event.deltaY / 800));
      look();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (turn) this.camera.turn(turn[0] * TURN_BY_KEY, turn[1] * TURN_BY_KEY);
      else if (event.key === "+" || event.key === "=") this.camera.zoom(1 / ZOOM_BY_KEY);
      else if (event.key === "-") this.camera.zoom(ZOOM_BY_KEY);
      else return;
      event.preventDefault();
      event.stopPropagation();
      look();
    });
  }
}
