"""What the help says of `--rig` and `--map`, apart from what they load."""

from typing import Final

RIG_HELP: Final = "Your own character (glb, vrm or bvh): the same file is written with the dance in it."
MAP_HELP: Final = "JSON or YAML of part and joint name, where joints of the rig are not found by themselves."
