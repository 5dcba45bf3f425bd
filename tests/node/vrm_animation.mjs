// Plays every animation of a VRM animation file on a VRM character and prints where its bones are, as JSON.
// node vrm_animation.mjs CHARACTER.vrm ANIMATION.vrma '["hips", ...]' '[0.0, ...]'
import { readFileSync } from "node:fs";
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { VRMLoaderPlugin } from "@pixiv/three-vrm";
import { VRMAnimationLoaderPlugin, createVRMAnimationClip } from "@pixiv/three-vrm-animation";

globalThis.self = globalThis; // which loaders expect of a browser
const [character, animation, bones, times] = process.argv.slice(2);
const warnings = [];
console.warn = (...words) => warnings.push(words.join(" "));

async function load(path, plugin) {
  const loader = new GLTFLoader();
  loader.register(plugin);
  const data = readFileSync(path);
  return loader.parseAsync(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength), "");
}

const { vrm } = (await load(character, (parser) => new VRMLoaderPlugin(parser))).userData;
const { vrmAnimations } = (await load(animation, (parser) => new VRMAnimationLoaderPlugin(parser))).userData;
const place = new THREE.Vector3();
const played = vrmAnimations.map((found) => {
  const clip = createVRMAnimationClip(found, vrm);
  const mixer = new THREE.AnimationMixer(vrm.scene);
  const action = mixer.clipAction(clip).setLoop(THREE.LoopOnce);
  action.clampWhenFinished = true;
  action.play();
  const positions = JSON.parse(times).map((time) => {
    mixer.setTime(time);
    vrm.humanoid.update();
    vrm.scene.updateMatrixWorld(true);
    return JSON.parse(bones).map((bone) => vrm.humanoid.getRawBoneNode(bone).getWorldPosition(place).toArray());
  });
  mixer.stopAllAction();
  return {
    positions,
    duration: clip.duration,
    rotations: [...found.humanoidTracks.rotation.keys()],
    translations: [...found.humanoidTracks.translation.keys()],
  };
});
console.log(JSON.stringify({ played, warnings }));
