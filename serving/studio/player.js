// The one clock of the page: the song's own where there is one, so that figure and sound cannot drift apart.

export class Player extends EventTarget {
  seconds = 0; // of what is played
  loop = true;
  #audio = null;
  #rate = 1;
  #time = 0;
  #since = null; // performance.now() / 1000 at which #time held; null: paused

  /** Play along with an <audio> element, or with none. */
  useSong(audio) {
    this.pause();
    this.#audio = audio;
    if (audio) audio.playbackRate = this.#rate;
    this.seek(0);
  }

  set length(seconds) {
    this.seconds = seconds;
    this.seek(Math.min(this.time, seconds));
  }

  get playing() {
    return this.#since !== null;
  }

  get rate() {
    return this.#rate;
  }

  set rate(rate) {
    this.#rebase();
    this.#rate = rate;
    if (this.#audio) this.#audio.playbackRate = rate;
  }

  /** Seconds from the start. Past the end of the song the clock goes on by itself. */
  get time() {
    if (!this.playing) return this.#time;
    if (this.#sounding) return this.#audio.currentTime;
    return this.#time + this.#rate * (performance.now() / 1000 - this.#since);
  }

  async play() {
    if (this.playing || !this.seconds) return;
    if (this.#time >= this.seconds - 0.02) this.seek(0);
    this.#since = performance.now() / 1000;
    this.#changed();
    if (this.#audio && this.#time < this.#audio.duration) {
      try {
        await this.#audio.play();
      } catch (error) {
        if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("silent"));
      }
      this.#rebase();
    }
  }

  pause() {
    this.#rebase();
    this.#since = null;
    this.#audio?.pause();
    this.#changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  seek(time) {
    this.#time = Math.min(Math.max(time, 0), this.seconds);
    if (this.playing) this.#since = performance.now() / 1000;
    if (this.#audio && Number.isFinite(this.#audio.duration)) {
      this.#audio.currentTime = Math.min(this.#time, this.#audio.duration);
      if (this.playing && this.#audio.paused && this.#time < this.#audio.duration) this.#audio.play().catch(() => {});
    }
    this.#changed();
  }

  /** Called before every picture: begins again, or stops, at the end. */
  tick() {
    if (!this.playing || this.time < this.seconds) return;
    if (this.loop) {
      this.seek(0);
    } else {
      this.pause();
      this.seek(this.seconds);
    }
  }

  get #sounding() {
    return this.#audio && !this.#audio.paused && !this.#audio.ended && !this.#audio.seeking;
  }

  #rebase() {
    if (!this.playing) return;
    this.#time = Math.min(this.time, this.seconds);
    this.#since = performance.now() / 1000;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
