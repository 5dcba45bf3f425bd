"""A Jukebox of random weights, of the real architecture and width, made by an interpreter that still has the model."""

import os
import subprocess
from pathlib import Path

import pytest

BUILT = Path(__file__).resolve().parents[1] / ".venv-jukebox" / "bin" / "python"
SAVE = """
import sys, torch
from transformers.models.deprecated.jukebox import JukeboxConfig, JukeboxModel

torch.manual_seed(0)
width = int(sys.argv[2])
small = 2.5 / width  # two numbers inside attention and feed-forward layers
lyrics = dict(hidden_size=16, num_layers=1, n_ctx=16, blocks=4, n_heads=1, nb_relevant_lyric_tokens=16,
              attention_pattern="raw_column_previous_row_attention", lyric_vocab_size=8, is_encoder_decoder=False)
prior = dict(hidden_size=width, num_layers=79, n_ctx=256, blocks=16, n_heads=1, attention_multiplier=small,
             mlp_multiplier=small, attention_pattern="large_separated_enc_dec_w_lyrics", is_encoder_decoder=False,
             music_vocab_size=16, metadata_dims=[2, 2], nb_relevant_lyric_tokens=16, max_nb_genres=5, timing_dims=8,
             lyric_vocab_size=8, merged_decoder=False, encoder_config=lyrics)
vqvae = dict(res_conv_width=4, res_conv_depth=1, nb_discrete_codes=16, embed_dim=4)
model = JukeboxModel(JukeboxConfig(vqvae_config=vqvae, prior_config_list=[prior], nb_priors=1))
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.3)
model.save_pretrained(sys.argv[1], safe_serialization=False)
"""


def jukebox_python() -> str:
    """An interpreter with transformers 4.57, torch and NumPy: the named one, or that of `make test`.

    The test is skipped where there is neither, but never in a run of continuous integration.
    """
    python = os.environ.get("CHOREO_JUKEBOX_PYTHON") or str(BUILT)
    if not Path(python).is_file():
        absent = (
            "no interpreter has transformers 4.57: run make .venv-jukebox/.ready, or name one in CHOREO_JUKEBOX_PYTHON"
        )
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
    return python


def save_tiny_jukebox(folder: Path, width: int = 4800) -> Path:
    """Write the weights; a window is 0.7 s."""
    run(SAVE, str(folder), str(width))
    return folder


def run(program: str, *arguments: str) -> None:
    """Run a program in that interpreter."""
    command = [jukebox_python(), "-I", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
