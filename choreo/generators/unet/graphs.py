"""The graphs of the U-Net, as its spec describes them."""

from functools import partial
from typing import Final

from choreo.generators.windowed_spec import windowed_spec

FAMILY: Final = "unet"
unet_spec = partial(windowed_spec, family=FAMILY)
"""The contract of a U-Net; the sizes are those of `windowed_spec`."""
