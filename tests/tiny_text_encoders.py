"""CLIP and sentence-T5 of random weights and a few words, small enough for every test."""

from pathlib import Path

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
