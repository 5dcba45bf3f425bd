// A camera that looks at a dance from an angle and a distance, and what it makes of points.

export const FIELD_OF_VIEW = (32 * Math.PI) / 180; // across the shorter side of the picture
export const DISTANCE = 4.7; // metres
const VIEWS = { front: [0, 0.1], side: [Math.PI / 2, 0.1], back: [Math.PI, 0.1], top: [0, 1.45] };

export class Camera {
  yaw = 0.35;
  pitch = 0.2;
  distance = DISTANCE;
  follow = true;

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(Math.max(this.pitch + pitch, -0.05), 1.5);
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, 1.5), 30);
  }

  look(view) {
    if (VIEWS[view]) [this.yaw, this.pitch] = VIEWS[view];
  }

  /** Pixels and depth of world points in a picture of a size: a function of [x, y, z] to [x, y, depth]. */
  projection(centre, width, height) {
    const [sy, cy, sp, cp] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    const eye = [centre[0] + this.distance * sy * cp, centre[1] + this.distance * sp, centre[2] + this.distance * cy * cp];
    const focal = Math.min(width, height) / 2 / Math.tan(FIELD_OF_VIEW / 2);
    const project = ([px, py, pz]) => {
      const [x, y, z] = [px - eye[0], py - eye[1], pz - eye[2]];
      const depth = Math.max(-(x * sy * cp + y * sp + z * cy * cp), 0.01);
      const right = x * cy - z * sy, down = x * sy * sp - y * cp + z * cy * sp;
      return [width / 2 + (focal * right) / depth, height / 2 + (focal * down) / depth, depth];
    };
    return Object.assign(project, { focal, eye });
  }
}
