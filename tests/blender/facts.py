"""Run inside of Blender: prints its version, that of its Python, and whether that has numpy, as one line of JSON."""

import importlib.util
import json
import sys

import bpy

numpy = importlib.util.find_spec("numpy") is not None
found = {"version": list(bpy.app.version[:2]), "python": list(sys.version_info[:2]), "numpy": numpy}
print("\nFOUND " + json.dumps(found))
