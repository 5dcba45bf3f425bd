// A dance as the server's JSON document tells it.

import { NUM_JOINTS } from "./figure.js";

const SMOOTHING_S = 1.2; // of the path that a camera follows, to either side

export class Dance {
  /** Of a document with `motion` (T, 22, 3), or `dancers` of such; metres, y up. Throws where it is something else. */
  constructor(document) {
    this.dancers = document.dancers?.map((dancer) => dancer.motion) ?? [document.motion];
    this.fps = Number(document.fps);
    this.meta = document.meta ?? {};
    const frames = this.dancers[0]?.length;
    const isMotion = (motion) => Array.isArray(motion) && motion.length === frames && motion[0]?.length === NUM_JOINTS;
    if (!frames || !(this.fps > 0) || !this.dancers.every(isMotion)) throw new Error("that is no motion of this program");
    this.frames = frames;
    this.beats = numbers(this.meta.beats);
    this.downbeats = numbers(this.meta.downbeats);
    this.path = smoothedPath(this.dancers, Math.round(SMOOTHING_S * this.fps));
    this.middle = [0, 2].map((axis) => this.path.reduce((sum, place) => sum + place[axis], 0) / frames);
  }

  get seconds() {
    return this.frames / this.fps;
  }

  /** Joints (22 of [x, y, z]) of a dancer at a time, between two frames in proportion. */
  pose(dancer, time) {
    const motion = this.dancers[dancer];
    const place = Math.min(Math.max(time * this.fps, 0), this.frames - 1);
    const before = Math.floor(place + 1e-6), share = Math.max(place - before, 0);
    const a = motion[before], b = motion[Math.min(before + 1, this.frames - 1)];
    return share < 1e-4 ? a : a.map((p, j) => p.map((value, axis) => value + share * (b[j][axis] - value)));
  }

  /** What a camera looks at, metres. */
  centre(time, follow) {
    if (!follow) return [this.middle[0], 0.9, this.middle[1]];
    const [x, , z] = this.path[Math.min(Math.max(Math.round(time * this.fps), 0), this.frames - 1)];
    return [x, 0.9, z];
  }

  /** How far the dancers move from the middle of their path, metres. */
  get reach() {
    const far = ([x, , z]) => Math.hypot(x - this.middle[0], z - this.middle[1]);
    return this.path.reduce((most, place) => Math.max(most, far(place)), 0) + (this.dancers.length - 1) * 0.4;
  }
}

function numbers(values) {
  return Array.isArray(values) ? values.filter(Number.isFinite) : [];
}

/** Places [x, 0, z] of the dancers' middle, each the mean of what is at most `reach` frames away. */
function smoothedPath(dancers, reach) {
  const roots = dancers[0].map((_, t) => [0, 2].map((axis) =>
    dancers.reduce((sum, motion) => sum + motion[t][0][axis], 0) / dancers.length));
  const sums = [[0, 0]];
  for (const [x, z] of roots) sums.push([sums.at(-1)[0] + x, sums.at(-1)[1] + z]);
  return roots.map((_, t) => {
    const first = Math.max(t - reach, 0), stop = Math.min(t + reach + 1, roots.length);
    return [(sums[stop][0] - sums[first][0]) / (stop - first), 0, (sums[stop][1] - sums[first][1]) / (stop - first)];
  });
}
