"""Arithmetic of exported graphs."""

from enum import StrEnum


class Precision(StrEnum):
    """Arithmetic of an exported graph; its inputs and outputs are float32 either way."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
