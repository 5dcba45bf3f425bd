"""The scale of the dance feature spaces: each feature in standard deviations of the reference set."""

from typing import Any, Final

from numpy.typing import NDArray

from choreo.evaluation.checks import Array, feature_set, same_width

EPS: Final = 1e-10
"""Added to each standard deviation, as in Bailando's metrics; a feature that is constant in the reference becomes
huge if the subject varies."""


def standardise(features: NDArray[Any], reference: NDArray[Any]) -> Array:
    """(features - mean) / (std + 1e-10), both of the reference (Siyao et al. 2022, "Bailando").

    Args:
        features: (N, D) to standardise.
        reference: (M, D) ground truth.
    Returns:
        (N, D).
    Raises:
        InvalidInput: unusable sets, or different dimensions.
    """
    truth = feature_set(reference, "reference")
    values = feature_set(features, "features")
    same_width(truth, values, "features")
    return (values - truth.mean(axis=0)) / (truth.std(axis=0) + EPS)
