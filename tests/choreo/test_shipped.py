"""Checkpoints by name or path."""

import pytest

from choreo.errors import InvalidInput
from choreo.shipped import checkpoint_folder, shipped


def test_a_checkpoint_is_found_by_name_and_by_path() -> None:
    assert checkpoint_folder("unet-small") == shipped("weights", "unet-small")
    assert checkpoint_folder(str(shipped("weights", "unet-small"))) == shipped("weights", "unet-small")


@pytest.mark.parametrize("given", ["", "phrases", "no-such-model"])
def test_what_is_no_checkpoint_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match="unet-small"):
        checkpoint_folder(given)


def test_weights_that_are_no_generator_are_refused() -> None:
    for given in ("tmr-small", str(shipped("weights", "tmr-small"))):
        with pytest.raises(InvalidInput, match=r"no generator's; generators are unet-small"):
            checkpoint_folder(given)
