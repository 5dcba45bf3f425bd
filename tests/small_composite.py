"""A composite generator with random weights, small enough to be exported in a test, and its checkpoint."""

from pathlib import Path
from typing import Any

import torch

from choreo.generators.checkpoint import save_generator
from choreo.generators.composite.config import CompositeConfig, GptConfig
from choreo.generators.composite.graphs import PlanParameters, composite_spec
from choreo.generators.composite.model import CompositeNetwork
from choreo.generators.spec import GeneratorSpec
from choreo.generators.unet.config import UNetConfig
from choreo.models.conditioner_config import ConditionerConfig
from choreo.models.motion_tokenizer import fingerprint
from choreo.models.tokenizer_config import TokenizerConfig

CODES = 16
CONTEXT = 12


def small_tokenizer(**changes: Any) -> TokenizerConfig:
    sizes = {"codebook_size": CODES, "code_channels": 4, "width": 16, "dilations": (3, 1)}
    return TokenizerConfig.model_validate(sizes | changes)


def small_gpt(**changes: Any) -> GptConfig:
    sizes = {"width": 16, "layers": 2, "num_heads": 2, "context": CONTEXT}
    return GptConfig.model_validate(sizes | changes)


def small_composite_spec(name: str = "small-composite", **changes: Any) -> GeneratorSpec:
    fields: dict[str, Any] = {
        "mean": (0.0, 0.0, 0.95, *(0.0,) * 63), "std": (0.3,) * 66, "context_dim": 16, "text_dim": 8, "codes": CODES,
        "width": 16, "layers": 2, "context": CONTEXT, "plan": PlanParameters(key_pose_interval=16),
    }  # fmt: skip
    return composite_spec(name, **(fields | changes))


def small_config(spec: GeneratorSpec | None = None, **changes: Any) -> CompositeConfig:
    spec = spec or small_composite_spec()
    fields: dict[str, Any] = {
        "spec": spec,
        "conditioner": ConditionerConfig(context_dim=16, num_heads=2, text_dim=spec.text_dim),
        "denoiser": UNetConfig(
            model_channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), num_heads=2,
            context_dim=16,
        ),
        "music_mean": (0.0,) * 35, "music_std": (1.0,) * 35, "tokenizer": small_tokenizer(), "gpt": small_gpt(),
    }  # fmt: skip
    return CompositeConfig.model_validate(fields | changes)


def small_composite(config: CompositeConfig | None = None, seed: int = 0) -> CompositeNetwork:
    """Weights are random everywhere, also where training begins with zeros."""
    torch.manual_seed(seed)
    network = CompositeNetwork(config or small_config())
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    if network.config.tokenizer.quantizer == "vq":
        network.tokenizer.quantizer.codebook.copy_(torch.randn(CODES, 4))  # type: ignore[operator]
    network.config = network.config.model_copy(update={"codebook": fingerprint(network.tokenizer)})
    return network.eval()


def save_small_composite(folder: Path, name: str = "small-composite", **changes: Any) -> Path:
    network = small_composite(small_config(small_composite_spec(name, **changes)))
    save_generator(folder, network.config, network.state_dict())
    return folder
