"""Finds the lowering of a network: the function that writes it as a program for the compiled engine.

A generator names its lowering. The name is one of `LOWERINGS`, of an installed entry point of the group
`choreo.lowerings`, or a function itself as "module:function". A network that cannot be lowered is evaluated by ONNX
Runtime.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

import torch
from torch import nn

from export.native.program import CannotLower, Program, Shape

Lowering = Callable[[nn.Module, Program], None]
"""Appends the operators of a module to a program with the module's inputs and output, with the building blocks of
`export.native.blocks`. Raises `CannotLower` if the module has parts that the engine has no operator for."""

LOWERINGS: Final[dict[str, str]] = {"unet": "export.native.lowerings.unet:lower"}
"""Lowerings of this program by name, as "module:function"."""

ENTRY_POINTS: Final = "choreo.lowerings"


def lower(module: nn.Module, inputs: dict[str, Shape], outputs: dict[str, Shape], lanes: int, lowering: str) -> Program:
    """The program of a module.

    Args:
        module: takes the inputs in order; is in evaluation mode.
        inputs: shapes by name, without the batch axis.
        outputs: likewise; the engine supports one output.
        lanes: floats per vector of the engine.
        lowering: name of the function that lowers the module.

    Raises:
        CannotLower: there is no such lowering, or the module has parts that the engine has no operator for.
    """
    if len(outputs) != 1:
        raise CannotLower(f"the compiled engine supports one output, and the graph has {len(outputs)}")
    program = Program(lanes, dict(inputs), next(iter(outputs.items())))
    function = find_lowering(lowering)
    with torch.no_grad():
        function(module, program)
    return program


def find_lowering(name: str) -> Lowering:
    """The lowering of a name.

    Raises:
        CannotLower: there is none, or it cannot be imported.
    """
    target = LOWERINGS.get(name, name if ":" in name else "")
    if not target:
        found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
        if found is None:
            raise CannotLower(f"there is no lowering named {name!r}")
        target = found.value
    module, _, attribute = target.partition(":")
    try:
        function: Lowering = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotLower(f"the lowering {name!r} cannot be imported: {error}") from error
    return function
