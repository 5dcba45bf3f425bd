// The figure: limbs between the 22 joints and seven further points, as in the films of `choreo generate --format mp4`.

const [JAW, CROWN, NOSE, L_TOE, R_TOE, L_HAND, R_HAND] = [22, 23, 24, 25, 26, 27, 28];
export const NUM_JOINTS = 22;
export const NUM_POINTS = 29;

const CENTRE = [
  ["torso", 0, 3, 0.108, 0.1], ["torso", 3, 6, 0.1, 0.112], ["torso", 6, 9, 0.112, 0.115], ["torso", 1, 2, 0.08, 0.08],
  ["torso", 9, 12, 0.1, 0.052], ["torso", 12, 15, 0.048, 0.046], ["head", JAW, CROWN, 0.072, 0.096],
  ["head", JAW, NOSE, 0.03, 0.018],
];
const LEFT = [
  ["torso", 13, 16, 0.068, 0.058], ["arm", 16, 18, 0.052, 0.04], ["forearm", 18, 20, 0.04, 0.028],
  ["forearm", 20, L_HAND, 0.03, 0.027], ["thigh", 1, 4, 0.086, 0.058], ["shin", 4, 7, 0.058, 0.038],
  ["shin", 7, 10, 0.042, 0.032], ["shin", 10, L_TOE, 0.032, 0.022],
];
const MIRROR = { 1: 2, 4: 5, 7: 8, 10: 11, [L_TOE]: R_TOE, 13: 14, 16: 17, 18: 19, 20: 21, [L_HAND]: R_HAND };

/** All limbs: {part, a, b, ra, rb, side}; radii in metres, side 0 left, 1 right, 2 centre. */
export const LIMBS = [
  ...CENTRE.map(([part, a, b, ra, rb]) => ({ part, a, b, ra, rb, side: 2 })),
  ...LEFT.flatMap(([part, a, b, ra, rb]) => [
    { part: part === "torso" ? part : `left ${part}`, a, b, ra, rb, side: 0 },
    { part: part === "torso" ? part : `right ${part}`, a: MIRROR[a], b: MIRROR[b], ra, rb, side: 1 },
  ]),
];
/** Positions in LIMBS that are painted together. */
export const PARTS = [...Map.groupBy(LIMBS.keys(), (i) => LIMBS[i].part).values()];

const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const along = (a, d, s) => [a[0] + s * d[0], a[1] + s * d[1], a[2] + s * d[2]];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => {
  const length = Math.hypot(...a) || 1;
  return [a[0] / length, a[1] / length, a[2] / length];
};

/** Joints (22 of [x, y, z], metres) and the points that give the figure a head, toes and hands (29). */
export function bodyPoints(joints) {
  const up = unit(minus(joints[15], joints[12]));
  const face = unit(cross(minus(joints[16], joints[17]), up));
  const toe = (foot, ankle) => {
    const d = minus(joints[foot], joints[ankle]);
    return along(joints[foot], unit([d[0], 0.3 * d[1], d[2]]), 0.06);
  };
  const hand = (wrist, elbow) => along(joints[wrist], unit(minus(joints[wrist], joints[elbow])), 0.085);
  const head = joints[15];
  return [
    ...joints, along(head, up, 0.03), along(head, up, 0.1), along(along(head, up, 0.045), face, 0.105),
    toe(10, 7), toe(11, 8), hand(20, 18), hand(21, 19),
  ];
}
