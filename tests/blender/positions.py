"""Run inside of Blender: import a file with default settings and print, as one line of JSON, where joints are.

blender --background --factory-startup --python positions.py -- FILE START FPS
"""

import json
import sys
from pathlib import Path

import bpy


def action_range(armature):
    action = armature.animation_data.action
    if action is None:
        action = armature.animation_data.nla_tracks[0].strips[0].action
        armature.animation_data.action = action
    return [float(frame) for frame in action.frame_range]


def main(path, fps):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = int(fps)
    suffix = Path(path).suffix
    if suffix == ".bvh":
        bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, update_scene_fps=True, update_scene_duration=True)
    elif suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=path)
    else:
        bpy.ops.import_scene.gltf(filepath=path)
    found = {"fps": scene.render.fps / scene.render.fps_base, "version": bpy.app.version_string, "armatures": []}
    for armature in sorted((o for o in bpy.data.objects if o.type == "ARMATURE"), key=lambda o: o.name):
        first, last = action_range(armature)
        frames = []
        for frame in range(round(first), round(last) + 1):
            scene.frame_set(frame)
            posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
            frames.append([list(posed.matrix_world @ bone.head) for bone in posed.pose.bones])
        found["armatures"].append(
            {
                "name": armature.name,
                "bones": [bone.name for bone in armature.pose.bones],
                "first": first,
                "last": last,
                "positions": frames,
                "scale": list(armature.scale),
                "about": {name: armature[name] for name in ("seed", "model", "fps", "meta") if name in armature},
                "meshes": [mesh_facts(mesh, armature) for mesh in bpy.data.objects if mesh.parent == armature],
            }
        )
    print("\nFOUND " + json.dumps(found))


def mesh_facts(mesh, armature):
    """Height of the posed body over the floor, and whether the armature moves it."""
    posed = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    heights = [(posed.matrix_world @ vertex.co).z for vertex in posed.data.vertices]
    moved = any(m.type == "ARMATURE" and m.object == armature for m in mesh.modifiers)
    return {"name": mesh.name, "low": min(heights), "high": max(heights), "moved": moved}


arguments = sys.argv[sys.argv.index("--") + 1 :]
main(arguments[0], float(arguments[1]))
