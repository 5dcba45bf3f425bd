// What is kept of a take when it is danced anew: held spans and key poses, as bars and marks that can be dragged.

const FPS = 30; // frames of constraints, whatever the rate of the files
const NUDGE = 3; // frames
const MIN_HOLD = 3;
const EDGE = 8; // pixels at which a bar is grasped by its end
const MAX_ITEMS = 64;

export class Directing extends EventTarget {
  source = null; // the take that holds are of
  holds = []; // {first, last} in frames
  poses = []; // {frame, pose}

  constructor(holdLane, poseLane, player) {
    super();
    [this.holdLane, this.poseLane, this.player] = [holdLane, poseLane, player];
    holdLane.addEventListener("pointerdown", (event) => {
      if (event.target === holdLane && this.source) this.#begin(event);
    });
  }

  get frames() {
    return this.source ? Math.round(this.source.dance.seconds * FPS) : 0;
  }

  get empty() {
    return !this.holds.length && !this.poses.length;
  }

  /** The take that is looked at now: what is kept of another one stays as long as there is anything. */
  offer(take) {
    if (this.empty && take?.dance) this.source = take.dance.dancers.length === 1 ? take : null;
    this.show();
  }

  addHold(first, last) {
    if (!this.source || this.holds.length >= MAX_ITEMS) return;
    this.holds.push(this.#within({ first: Math.round(first), last: Math.round(last) }));
    this.#changed(this.holdLane);
  }

  /** Keep the pose of the take at a time; one that is there already is replaced. */
  addPose(take, time) {
    if (!take?.dance || take.dance.dancers.length > 1 || this.poses.length >= MAX_ITEMS) return;
    this.source ??= take;
    const frame = Math.min(Math.round(time * FPS), this.frames - 1);
    const pose = take.dance.pose(0, frame / FPS).map((joint) => joint.map((value) => Number(value.toFixed(3))));
    this.poses = this.poses.filter((item) => item.frame !== frame);
    this.poses.push({ frame, pose });
    this.#changed(this.poseLane);
  }

  /** Poses of a request that was shared; holds need the take that they are of. */
  restore(constraints, seconds) {
    this.poses = (constraints?.keyframes ?? []).filter((item) => Number.isInteger(item.frame) && Array.isArray(item.pose));
    this.sharedFrames = Math.round((seconds ?? 0) * FPS);
    this.show();
  }

  clear() {
    [this.holds, this.poses, this.source] = [[], [], null];
    this.#changed();
  }

  /** The `constraints` of a request; undefined where nothing is kept. */
  constraints() {
    const holds = [...this.holds].sort((a, b) => a.first - b.first).map(({ first, last }) => [first, last]);
    const poses = [...this.poses].sort((a, b) => a.frame - b.frame);
    const made = {};
    if (holds.length) made.hold = holds;
    if (poses.length) made.keyframes = poses;
    return Object.keys(made).length ? made : undefined;
  }

  show() {
    const total = this.frames || this.sharedFrames || Math.round(this.player.seconds * FPS) || 1;
    const percent = (frames) => `${(100 * frames) / total}%`;
    const bars = this.holds.map((item) => {
      const text = `Hold from ${seconds(item.first)} to ${seconds(item.last)}`;
      const bar = this.#button("hold", text, this.holdLane, this.holds, item);
      bar.style.left = percent(item.first);
      bar.style.width = percent(item.last + 1 - item.first);
      return bar;
    });
    const marks = this.poses.map((item) => {
      const mark = this.#button("pose", `Pose at ${seconds(item.frame)}`, this.poseLane, this.poses, item);
      mark.style.left = percent(item.frame);
      return mark;
    });
    this.holdLane.replaceChildren(...bars);
    this.poseLane.replaceChildren(...marks);
  }

  #button(kind, text, lane, list, item) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind;
    button.title = text;
    button.setAttribute("aria-label", text);
    button.addEventListener("keydown", (event) => this.#key(event, lane, list, item));
    button.addEventListener("pointerdown", (event) => {
      button.focus();
      const { left, right } = button.getBoundingClientRect();
      const end = kind === "pose" ? null : event.clientX - left < EDGE ? "first" : right - event.clientX < EDGE ? "last" : null;
      this.#drag(event, lane, item, end);
    });
    return button;
  }

  #key(event, lane, list, item) {
    const step = { ArrowLeft: -NUDGE, ArrowRight: NUDGE }[event.key];
    if (step) {
      this.#move(item, step, event.shiftKey && "last" in item ? "last" : null);
      this.#changed(lane, list.indexOf(item));
    } else if (event.key === "Delete" || event.key === "Backspace") {
      list.splice(list.indexOf(item), 1);
      this.#changed();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #begin(event) {
    const { left, width } = this.holdLane.getBoundingClientRect();
    const frame = ((event.clientX - left) / width) * this.frames;
    const item = { first: Math.floor(frame), last: Math.floor(frame) + MIN_HOLD };
    if (this.holds.length >= MAX_ITEMS) return;
    this.holds.push(this.#within(item));
    this.#drag(event, this.holdLane, this.holds.at(-1), "last");
  }

  /** Follow the pointer until it is let go: the whole item, or one end of it. */
  #drag(event, lane, item, end) {
    const perPixel = (this.frames || this.sharedFrames || 1) / lane.getBoundingClientRect().width;
    const before = { ...item }, from = event.clientX;
    const move = (now) => {
      Object.assign(item, before);
      this.#move(item, Math.round((now.clientX - from) * perPixel), end);
      this.show();
    };
    const stop = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      window.removeEventListener("pointercancel", stop);
      this.#changed(lane, (lane === this.holdLane ? this.holds : this.poses).indexOf(item));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
    event.preventDefault();
    this.show();
  }

  #move(item, by, end) {
    const last = Math.max((this.frames || this.sharedFrames) - 1, 0);
    if ("frame" in item) {
      item.frame = Math.min(Math.max(item.frame + by, 0), last);
    } else if (end) {
      item[end] += by;
    } else {
      const step = Math.min(Math.max(by, -item.first), last - item.last);
      item.first += step;
      item.last += step;
    }
    if ("last" in item) Object.assign(item, this.#within(item));
  }

  #within({ first, last }) {
    const most = this.frames - 1;
    [first, last] = first <= last ? [first, last] : [last, first];
    return { first: Math.min(Math.max(first, 0), most), last: Math.min(Math.max(last, 0), most) };
  }

  #changed(lane = null, index = -1) {
    this.show();
    if (lane) lane.children[index < 0 ? lane.children.length - 1 : index]?.focus();
    this.dispatchEvent(new Event("change"));
  }
}

function seconds(frames) {
  return `${(frames / FPS).toFixed(2)} s`;
}
