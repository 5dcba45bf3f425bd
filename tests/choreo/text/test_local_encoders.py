"""CLIP and T5: tiny models with random weights go the whole way, and absent weights are said to be absent."""

from pathlib import Path

import numpy as np
import pytest

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.text.clip import ClipTextEncoder
from choreo.text.encoders import text_encoder
from choreo.text.t5 import T5TextEncoder

WORDS = ["a", "slow", "waltz", "couple", "dances", "climbing", "ladder"]


def save_tiny_clip(directory: Path, projection: int = 768) -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizerFast

    letters = sorted(set("".join(WORDS)))
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=77)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=16,
        projection_dim=projection,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def save_tiny_t5(directory: Path, width: int = 768) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}, "<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )
    inner = directory / "inner"
    T5EncoderModel(T5Config(vocab_size=16, d_model=width, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        inner
    )
    tokenizer.save_pretrained(inner)
    SentenceTransformer(modules=[Transformer(str(inner)), Pooling(width)], device="cpu").save(str(directory))


def check_embeddings(encoder: ClipTextEncoder | T5TextEncoder) -> None:
    texts = ["a slow waltz", "climbing a ladder", "a " * 200] * 15
    rows = encoder.encode(texts)
    assert (rows.shape, rows.dtype) == ((45, 768), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:3], rows[42:], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert encoder.encode([]).shape == (0, 768)


def test_clip_loads_from_a_directory(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path)
    check_embeddings(ClipTextEncoder(tmp_path))


def test_another_clip_is_refused(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path, projection=512)
    with pytest.raises(InvalidArtifact, match="768"):
        ClipTextEncoder(tmp_path).encode(["a"])


def test_t5_loads_from_a_directory(tmp_path: Path) -> None:
    save_tiny_t5(tmp_path)
    check_embeddings(T5TextEncoder(tmp_path))


def test_another_sentence_encoder_is_refused(tmp_path: Path) -> None:
    save_tiny_t5(tmp_path, width=32)
    with pytest.raises(InvalidArtifact, match="768"):
        T5TextEncoder(tmp_path).encode(["a"])


@pytest.mark.parametrize(
    ("name", "repository"),
    [("clip", "openai/clip-vit-large-patch14"), ("t5", "sentence-transformers/sentence-t5-base")],
)
def test_absent_weights_are_said_to_be_absent(name: str, repository: str, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingDependency, match=f"hf download {repository}"):
            text_encoder(name, source=source).encode(["a slow waltz"])
