"""The tokeniser: shapes, the round trip of tokens, padding, learning, and what codes are in use."""

from typing import Literal

import pytest
import torch
from pydantic import ValidationError

from choreo.models.motion_tokenizer import MotionTokenizer, codes_in_use, fingerprint, token_mask
from choreo.models.tokenizer_config import TokenizerConfig

KINDS: tuple[Literal["vq", "fsq"], ...] = ("vq", "fsq")


def small(quantizer: Literal["vq", "fsq"], **changes: object) -> TokenizerConfig:
    sizes = {"codebook_size": 16, "code_channels": 8, "levels": (4, 4), "width": 16, "frame_channels": 6}
    return TokenizerConfig.model_validate({"quantizer": quantizer} | sizes | changes)


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> MotionTokenizer:
    torch.manual_seed(1)
    made = MotionTokenizer(small(request.param))
    made.train()(torch.randn(2, 32, 6), torch.ones(2, 32))
    return made.eval()


@torch.no_grad()
def test_tokens_make_the_round_trip(tokenizer: MotionTokenizer) -> None:
    """Decoding the tokens of a motion is what the tokeniser makes of the motion."""
    features, mask = torch.randn(3, 40, 6), torch.ones(3, 40)
    tokens = tokenizer.encode(features, mask)
    assert tokens.shape == (3, 10)
    assert tokens.max() < tokenizer.config.codes
    made = tokenizer(features, mask)
    torch.testing.assert_close(tokenizer.decode(tokens, torch.ones(3, 10)), made.features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.tokens, tokens)


@torch.no_grad()
def test_what_is_padding_does_not_matter(tokenizer: MotionTokenizer) -> None:
    features, mask = torch.randn(1, 40, 6), torch.ones(1, 40)
    mask[:, 22:] = 0
    other = features.clone()
    other[:, 22:] = 99
    torch.testing.assert_close(tokenizer(features, mask).features, tokenizer(other, mask).features)
    assert token_mask(mask).tolist() == [[1.0] * 5 + [0.0] * 5]


def test_it_learns_to_reconstruct(tokenizer: MotionTokenizer) -> None:
    torch.manual_seed(0)
    time = torch.arange(32)[None, :, None] / 5.0
    motion = torch.sin(time + torch.arange(6) + torch.arange(8)[:, None, None])
    optimizer, mask = torch.optim.Adam(tokenizer.parameters(), 3e-3), torch.ones(8, 32)
    errors = []
    for _ in range(150):
        made = tokenizer.train()(motion, mask)
        errors.append((made.features - motion).square().mean())
        optimizer.zero_grad()
        (errors[-1] + 0.02 * made.commitment).backward()
        optimizer.step()
    assert float(errors[-1].detach()) < 0.25 * float(errors[0].detach())


def test_a_fingerprint_tells_codebooks_apart(tokenizer: MotionTokenizer) -> None:
    same = MotionTokenizer(tokenizer.config)
    assert fingerprint(same) != fingerprint(tokenizer)
    same.load_state_dict(tokenizer.state_dict())
    assert fingerprint(same) == fingerprint(tokenizer)


def test_codes_in_use_are_counted() -> None:
    used, perplexity = codes_in_use(torch.tensor([0, 1, 2, 3] * 5), 9)
    assert used == 4
    assert perplexity == pytest.approx(4)
    assert codes_in_use(torch.tensor([3, 3, 3]), 9) == (1, pytest.approx(1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("levels", ()),
        ("levels", (1, 8)),
        ("levels", (256, 256, 2)),
        ("dilations", (0,)),
        ("codebook_size", 1),
        ("width", 1),
    ],
)
def test_impossible_sizes_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        TokenizerConfig.model_validate({field: value})


def test_sizes_of_both_quantisers() -> None:
    assert small("vq").codes == small("fsq").codes == 16
    assert TokenizerConfig(quantizer="fsq").codes == 512
