// Paints a moment of a dance on a canvas: floor, shadows, and the figures limb by limb, the farthest first.

import { LIMBS, PARTS, bodyPoints } from "./figure.js";

const SKY = "#181a22", GRID = "120, 128, 150", GRID_STEP = 0.5, GRID_REACH = 7;
const SHADOW = "rgba(4, 5, 9, 0.5)", LIGHT = [0.25, 0.2]; // where a shadow falls, metres per metre of height
const GLINT = [-0.3, -0.34]; // towards the light in the picture
const PALETTES = [
  [[255, 138, 92], [76, 178, 255], [236, 232, 224]],
  [[174, 255, 92], [173, 76, 255], [215, 240, 180]],
];
export const JOINT_COLOUR = "#ff00ff";
const JOINT_RADIUS = 3.5;

/** Paint `dance` at `time` into a context whose units are CSS pixels. */
export function paint(context, width, height, dance, time, camera, showJoints) {
  const centre = dance.centre(time, camera.follow);
  const project = camera.projection(centre, width, height);
  context.fillStyle = SKY;
  context.fillRect(0, 0, width, height);
  paintFloor(context, project, centre);
  const poses = dance.dancers.map((_, dancer) => dance.pose(dancer, time));
  const bodies = poses.map(bodyPoints);
  for (const points of bodies) paintShadow(context, points, project);
  paintFigures(context, bodies, project);
  if (showJoints) poses.forEach((pose) => paintJoints(context, pose, project));
}

function paintFloor(context, project, centre) {
  const [x0, z0] = [centre[0], centre[2]].map((value) => Math.round(value / GRID_STEP) * GRID_STEP);
  const [x, y] = project([centre[0], 0, centre[2]]);
  const [far] = project([centre[0] + GRID_REACH * 0.72, 0, centre[2]]);
  const light = context.createRadialGradient(x, y, 0, x, y, Math.max(Math.abs(far - x), 60));
  light.addColorStop(0, `rgba(${GRID}, 0.42)`);
  light.addColorStop(1, `rgba(${GRID}, 0)`);
  context.beginPath();
  for (let k = -GRID_REACH; k <= GRID_REACH; k += GRID_STEP) {
    line(context, project, [x0 + k, 0, z0 - GRID_REACH], [x0 + k, 0, z0 + GRID_REACH]);
    line(context, project, [x0 - GRID_REACH, 0, z0 + k], [x0 + GRID_REACH, 0, z0 + k]);
  }
  context.strokeStyle = light;
  context.lineWidth = 1;
  context.stroke();
}

/** A line of the floor as far as it is in front of the camera. */
function line(context, project, a, b) {
  const near = 0.3, [, , da] = project(a), [, , db] = project(b);
  if (da < near && db < near) return;
  const at = (share) => a.map((value, axis) => value + share * (b[axis] - value));
  // Depth is linear along the line, but `project` keeps it above 0: look for where it comes close enough.
  const cut = (from, to) => {
    let [out, inside] = [from, to];
    for (let i = 0; i < 12; i++) {
      const middle = (out + inside) / 2;
      if (project(at(middle))[2] < near) out = middle;
      else inside = middle;
    }
    return at(inside);
  };
  const [p, q] = [project(da < near ? cut(0, 1) : a), project(db < near ? cut(1, 0) : b)];
  context.moveTo(p[0], p[1]);
  context.lineTo(q[0], q[1]);
}

function paintShadow(context, points, project) {
  const fallen = points.map(([x, y, z]) => project([x + LIGHT[0] * y, 0, z - LIGHT[1] * y]));
  context.beginPath();
  for (const { a, b, ra, rb } of LIMBS) {
    const [p, q] = [fallen[a], fallen[b]];
    capsule(context, p[0], p[1], (ra * project.focal) / p[2], q[0], q[1], (rb * project.focal) / q[2], 0.45);
  }
  context.fillStyle = SHADOW;
  context.fill();
}

function paintFigures(context, bodies, project) {
  const parts = bodies.flatMap((points, dancer) => {
    const seen = points.map(project);
    const depths = LIMBS.map(({ a, b }) => (seen[a][2] + seen[b][2]) / 2);
    const mean = depths.reduce((sum, depth) => sum + depth, 0) / depths.length;
    const shades = LIMBS.map(({ side }, i) => layers(PALETTES[dancer % PALETTES.length][side], mean - depths[i]));
    return PARTS.map((part) => {
      const limbs = [...part].sort((i, j) => depths[j] - depths[i]);
      return { limbs, seen, shades, depth: part.reduce((sum, i) => sum + depths[i], 0) / part.length };
    });
  });
  for (const { limbs, seen, shades } of parts.sort((one, other) => other.depth - one.depth)) {
    for (let layer = 0; layer < 4; layer++) {
      for (const i of limbs) paintLimb(context, LIMBS[i], seen, shades[i][layer], project.focal);
    }
  }
}

/** Layers of paint from the rim inwards: {colour, width, extra, shift}; what is nearer is lighter. */
function layers(colour, nearer) {
  const near = Math.min(Math.max(0.5 + nearer / 1.2, 0), 1);
  const base = colour.map((value) => value * (0.64 + 0.28 * near));
  const light = base.map((value) => value + (255 - value) * (0.22 + 0.16 * near));
  const css = (values) => `rgb(${values.map((value) => value | 0).join(" ")})`;
  return [
    { colour: css(base.map((value) => 0.4 * value)), width: 1, extra: 1.3, shift: 0 },
    { colour: css(base), width: 1, extra: 0, shift: 0 },
    { colour: css(base.map((value, k) => 0.6 * value + 0.4 * light[k])), width: 0.72, extra: 0, shift: 0.6 },
    { colour: css(light), width: 0.4, extra: 0, shift: 1 },
  ];
}

function paintLimb(context, { a, b, ra, rb }, seen, { colour, width, extra, shift }, focal) {
  const [p, q] = [seen[a], seen[b]];
  const [pa, pb] = [(ra * focal) / p[2], (rb * focal) / q[2]];
  const [dx, dy] = [GLINT[0] * shift, GLINT[1] * shift];
  context.beginPath();
  capsule(
    context, p[0] + dx * pa, p[1] + dy * pa, pa * width + extra, q[0] + dx * pb, q[1] + dy * pb, pb * width + extra,
  );
  context.fillStyle = colour;
  context.fill();
}

/** The outline of a rounded limb, always the same way round, so that several fill as one. `flat` squeezes its height. */
function capsule(context, ax, ay, ra, bx, by, rb, flat = 1) {
  const angle = Math.atan2((by - ay) / flat, bx - ax), quarter = Math.PI / 2;
  context.moveTo(ax + ra * Math.cos(angle + quarter), ay + flat * ra * Math.sin(angle + quarter));
  context.ellipse(ax, ay, ra, flat * ra, 0, angle + quarter, angle + 3 * quarter);
  context.ellipse(bx, by, rb, flat * rb, 0, angle - quarter, angle + quarter);
  context.closePath();
}

function paintJoints(context, pose, project) {
  context.fillStyle = JOINT_COLOUR;
  for (const joint of pose) {
    const [x, y] = project(joint);
    context.beginPath();
    context.arc(x, y, JOINT_RADIUS, 0, 2 * Math.PI);
    context.fill();
  }
}
