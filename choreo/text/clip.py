"""CLIP's text tower (Radford et al. 2021), 768-d, from weights that are on this machine."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.text.local import Weights

WEIGHTS: Final = Weights("CLIP ViT-L/14", "openai/clip-vit-large-patch14", "CHOREO_CLIP_WEIGHTS")
_BATCH: Final = 32


class ClipTextEncoder:
    """Projected CLIP text embeddings of unit length; texts are truncated to CLIP's 77 tokens.

    Args:
        source: folder of the weights, or their name in the local Hugging Face cache; by default what the environment
            variable `CHOREO_CLIP_WEIGHTS` names, else `openai/clip-vit-large-patch14`. Nothing is downloaded.
        device: torch device.
    """

    name = "clip"
    dim = 768

    def __init__(self, source: str | Path | None = None, device: str = "cpu") -> None:
        self._source = source or WEIGHTS.source()
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings float32 (N, 768), one row per text.

        Raises:
            MissingDependency: the weights are not on this machine.
            InvalidArtifact: the weights are those of a CLIP of another size.
        """
        import torch

        tokenizer, model = self._load()
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(texts), _BATCH):
            tokens = tokenizer(list(texts[start : start + _BATCH]), padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                embeddings = model(**tokens.to(self._device)).text_embeds.float()
                rows.append(torch.nn.functional.normalize(embeddings, dim=1).cpu().numpy())
        return np.concatenate(rows)

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = WEIGHTS.load(self._source, self._read)
            return self._loaded

    def _read(self) -> tuple[Any, Any]:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

        tokenizer = CLIPTokenizerFast.from_pretrained(self._source, local_files_only=True)
        model = CLIPTextModelWithProjection.from_pretrained(self._source, local_files_only=True)
        if model.config.projection_dim != self.dim:
            raise InvalidArtifact(f"must be a CLIP with {self.dim} dimensions, got {model.config.projection_dim}")
        return tokenizer, model.eval().requires_grad_(False).to(self._device)
