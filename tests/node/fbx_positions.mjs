// Prints where named joints of an FBX file are at some times of its first animation, in the file's unit,
// and this unit in centimetres, as JSON.
// node fbx_positions.mjs FILE '["pelvis", ...]' '[0.0, ...]'
import { readFileSync } from "node:fs";
import * as THREE from "three";
import { FBXLoader } from "three/addons/loaders/FBXLoader.js";

globalThis.window ??= globalThis; // which the loader expects of a browser
const [path, names, times] = process.argv.slice(2);
const data = readFileSync(path);
const root = new FBXLoader().parse(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength), "");
const mixer = new THREE.AnimationMixer(root);
const [clip] = root.animations;
const action = mixer.clipAction(clip).setLoop(THREE.LoopOnce);
action.clampWhenFinished = true;
action.play();
const place = new THREE.Vector3();
const positions = JSON.parse(times).map((time) => {
  mixer.setTime(time);
  root.updateMatrixWorld(true);
  return JSON.parse(names).map((name) => root.getObjectByName(name).getWorldPosition(place).toArray());
});
console.log(JSON.stringify({ positions, duration: clip.duration, unit: root.userData.unitScaleFactor }));
