// The user's song: played from the file itself, and its outline for the timeline.

const BUCKETS = 2400;
const MAX_DECODED_BYTES = 80 << 20; // decoding takes ten times the memory of the file

export class Song {
  peaks = null; // Float32Array of BUCKETS, 0 to 1, once known
  seconds = 0;

  constructor(file) {
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.audio = new Audio(this.url);
    this.audio.preload = "auto";
  }

  /** Resolves once the browser knows how long it is; rejects where it cannot play it, which the server may still. */
  ready() {
    return new Promise((resolve, reject) => {
      this.audio.addEventListener("loadedmetadata", () => {
        this.seconds = this.audio.duration;
        resolve();
      }, { once: true });
      this.audio.addEventListener("error", () => reject(new Error("this browser cannot play the file")), { once: true });
    });
  }

  /** Find the outline; a file that is too large or strange has none. */
  async outline() {
    if (this.file.size > MAX_DECODED_BYTES) return;
    try {
      const decoded = await new OfflineAudioContext(1, 1, 22050).decodeAudioData(await this.file.arrayBuffer());
      this.peaks = peaksOf(decoded.getChannelData(0));
    } catch {
      this.peaks = null;
    }
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    URL.revokeObjectURL(this.url);
  }
}

function peaksOf(samples) {
  const peaks = new Float32Array(BUCKETS);
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const stop = Math.floor(((bucket + 1) * samples.length) / BUCKETS);
    let most = 0;
    for (let i = Math.floor((bucket * samples.length) / BUCKETS); i < stop; i++) most = Math.max(most, Math.abs(samples[i]));
    peaks[bucket] = most;
  }
  const top = peaks.reduce((a, b) => Math.max(a, b), 1e-6);
  return peaks.map((peak) => peak / top);
}
