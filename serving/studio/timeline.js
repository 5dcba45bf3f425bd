// The timeline: outline of the song, beats and bars, seconds, and the playhead; a slider for pointer and keyboard.

const RULER = 16; // pixels

export class Timeline {
  song = null;
  beats = [];
  downbeats = [];

  constructor(canvas, player) {
    this.canvas = canvas;
    this.player = player;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#scrub(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.#scrub(event);
    });
  }

  #scrub(event) {
    const { left, width } = this.canvas.getBoundingClientRect();
    this.player.seek(((event.clientX - left) / width) * this.player.seconds);
  }

  paint() {
    const { canvas, player } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    }
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const total = player.seconds || 1;
    const x = (seconds) => (seconds / total) * width;
    this.#paintRuler(context, x, total, width, colour("--quiet"));
    this.#paintOutline(context, width, height, total, colour("--wave"));
    this.#paintBeats(context, x, height, colour("--beat"), colour("--bar"));
    if (!player.seconds) return;
    context.fillStyle = colour("--accent");
    context.fillRect(Math.min(Math.max(x(player.time) - 1, 0), width - 2), 0, 2, height);
    canvas.setAttribute("aria-valuemax", total.toFixed(2));
    canvas.setAttribute("aria-valuenow", player.time.toFixed(2));
    canvas.setAttribute("aria-valuetext", `${player.time.toFixed(2)} of ${total.toFixed(2)} seconds`);
  }

  #paintRuler(context, x, total, width, colour) {
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((s) => x(s) >= 44) ?? 600;
    context.fillStyle = colour;
    context.font = "11px system-ui, sans-serif";
    for (let k = 0; k * step < total; k++) {
      const seconds = k * step, at = x(seconds);
      context.fillRect(at, 0, 1, 5);
      const minutes = Math.floor(seconds / 60), rest = Number((seconds - 60 * minutes).toFixed(1));
      if (at < width - 30) context.fillText(minutes ? `${minutes}:${String(rest).padStart(2, "0")}` : `${rest} s`, at + 4, 11);
    }
  }

  #paintOutline(context, width, height, total, colour) {
    context.fillStyle = colour;
    const middle = (height + RULER) / 2, room = (height - RULER) / 2 - 3;
    const peaks = this.song?.peaks;
    if (!peaks) {
      context.fillRect(0, middle, width, 1);
      return;
    }
    for (let pixel = 0; pixel < width; pixel++) {
      const seconds = ((pixel + 0.5) / width) * total;
      if (seconds > this.song.seconds) break;
      const peak = peaks[Math.min(Math.floor((seconds / this.song.seconds) * peaks.length), peaks.length - 1)];
      const tall = Math.max(peak * room, 0.5);
      context.fillRect(pixel, middle - tall, 1, 2 * tall);
    }
  }

  #paintBeats(context, x, height, beatColour, barColour) {
    const bars = new Set(this.downbeats.map((time) => time.toFixed(2)));
    for (const time of this.beats) {
      const isBar = bars.has(time.toFixed(2));
      context.fillStyle = isBar ? barColour : beatColour;
      context.fillRect(x(time), isBar ? RULER : RULER + 8, isBar ? 2 : 1, height);
    }
  }
}
