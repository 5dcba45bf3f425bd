"""Run inside of Blender, by its own Python and without this program: a scene of `fbx.py` becomes an FBX file.

    blender --background --factory-startup --python blender_script.py -- SCENE OUT

Blender has z up: (x, y, z) becomes (x, -z, y). The scene is in centimetres, as FBX is by default, so that no
node has a scale. Every bone points up at rest, so its own
axes are those of the world before that turn, and a joint's rotation is the bone's.
"""

import json
import sys
from array import array
from typing import Any, BinaryIO

CENTIMETRES = 100.0
"""Units of the scene in a metre."""
BONE = 8.0
"""Length of a bone, centimetres: it only shows."""
LINEAR = 1
"""Number of that interpolation."""


def main(scene: str, out: str) -> None:
    """Read a scene and write the file."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    with open(scene, "rb") as file:
        head = json.loads(file.readline())
        set_clock(bpy.context.scene, head["fps"], head["num_frames"])
        for dancer in head["dancers"]:
            armature = add_armature(bpy, dancer, head)
            add_body(bpy, armature, dancer, head)
            animate(bpy, armature, dancer["joints"], head, file)
    bpy.ops.export_scene.fbx(
        filepath=out,
        object_types={"ARMATURE", "MESH"},
        use_custom_props=True,
        add_leaf_bones=False,
        mesh_smooth_type="FACE",
        bake_anim=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_simplify_factor=0.0,
    )


def set_clock(scene: Any, fps: float, num_frames: int) -> None:
    """Frames per second, which Blender has as a whole number over another, length, and unit."""
    scene.unit_settings.scale_length = 1 / CENTIMETRES
    scene.render.fps = max(1, round(fps))
    scene.render.fps_base = scene.render.fps / fps
    scene.frame_start, scene.frame_end = 0, max(num_frames - 1, 1)  # of one frame, the exporter makes nothing


def upright(point: list[float]) -> tuple[float, float, float]:
    """A place in metres in Blender's axes and the scene's unit."""
    return (CENTIMETRES * point[0], -CENTIMETRES * point[2], CENTIMETRES * point[1])


def add_armature(bpy: Any, dancer: dict[str, Any], head: dict[str, Any]) -> Any:
    """The skeleton in its rest pose."""
    armature = bpy.data.objects.new(dancer["name"], bpy.data.armatures.new(dancer["name"]))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones: list[Any] = []
    for name, parent, place in zip(dancer["joints"], head["parents"], head["rest"]):  # noqa: B905
        bone = armature.data.edit_bones.new(name)
        x, y, z = upright(place)
        bone.head, bone.tail, bone.roll = (x, y, z), (x, y, z + BONE), 0.0
        bone.align_roll((0.0, -1.0, 0.0))
        bone.parent = bones[parent] if parent >= 0 else None
        bones.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, value in head["about"].items():
        armature[name] = value
    return armature


def add_body(bpy: Any, armature: Any, dancer: dict[str, Any], head: dict[str, Any]) -> None:
    """The mannequin, each of its vertices with one bone."""
    faces = [face for side in head["triangles"] for face in side]
    mesh = bpy.data.meshes.new(dancer["name"] + "-body")
    mesh.from_pydata([upright(vertex) for vertex in head["vertices"]], [], faces)
    for side, colour in zip(("left", "right", "centre"), dancer["colours"]):  # noqa: B905
        material = bpy.data.materials.new(dancer["name"] + "-" + side)
        material.diffuse_color = (*colour, 1.0)
        mesh.materials.append(material)
    sides = [number for number, side in enumerate(head["triangles"]) for _ in side]
    mesh.polygons.foreach_set("material_index", sides)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    body = bpy.data.objects.new(mesh.name, mesh)
    bpy.context.scene.collection.objects.link(body)
    for number, name in enumerate(dancer["joints"]):
        group = body.vertex_groups.new(name=name)
        group.add([i for i, bone in enumerate(head["bones"]) if bone == number], 1.0, "REPLACE")
    body.parent = armature
    body.modifiers.new("skin", "ARMATURE").object = armature


def animate(bpy: Any, armature: Any, joints: list[str], head: dict[str, Any], file: BinaryIO) -> None:
    """The dancer's curves: the first joint moves, and all turn."""
    count = head["num_frames"]
    armature.animation_data_create()
    action = bpy.data.actions.new(armature.name)
    armature.animation_data.action = action
    curves = curves_of(bpy, action, armature)
    path = numbers(file, 3 * count)
    rest = head["rest"][0]
    for axis in range(3):
        moved = [CENTIMETRES * (value - rest[axis]) for value in path[axis::3]]
        add_curve(curves, 'pose.bones["%s"].location' % joints[0], axis, moved)  # noqa: UP031
    for name in joints:
        turns = numbers(file, 4 * count)
        for part in range(4):
            add_curve(curves, 'pose.bones["%s"].rotation_quaternion' % name, part, turns[part::4])  # noqa: UP031


def curves_of(bpy: Any, action: Any, armature: Any) -> Any:
    """The collection that curves are added to: of the action, and from Blender 5 on of its slot for the armature."""
    if hasattr(action, "fcurves"):
        return action.fcurves
    from bpy_extras import anim_utils

    slot = action.slots.new(id_type="OBJECT", name=armature.name)
    armature.animation_data.action_slot = slot
    return anim_utils.action_ensure_channelbag_for_slot(action, slot).fcurves


def add_curve(curves: Any, path: str, index: int, values: Any) -> None:
    """A key a frame, from frame 0."""
    curve = curves.new(path, index=index)
    curve.keyframe_points.add(len(values))
    curve.keyframe_points.foreach_set("co", [number for key in enumerate(values) for number in key])
    curve.keyframe_points.foreach_set("interpolation", [LINEAR] * len(values))
    curve.update()


def numbers(file: BinaryIO, count: int) -> Any:
    """The next float32 of the file, which are little-endian."""
    found = array("f")
    found.fromfile(file, count)
    if sys.byteorder == "big":
        found.byteswap()
    return found


if __name__ == "__main__":
    main(*sys.argv[sys.argv.index("--") + 1 :])
