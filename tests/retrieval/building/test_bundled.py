from pathlib import Path

from synthetic_phrases import WordEncoder

from choreo.data.synthetic.dances import MOVES
from choreo.text.encoders import text_encoder
from retrieval.building.bundled import TEMPOS, build_bundled
from retrieval.library.embedding import Music, Query
from retrieval.library.library import PhraseLibrary


def test_every_move_at_every_tempo_in_less_than_three_megabytes(tmp_path: Path) -> None:
    report = build_bundled(tmp_path / "lib", WordEncoder())
    assert report.phrases == len(MOVES) * len(TEMPOS)
    assert report.skipped == []
    assert 60 <= report.phrases <= 100
    assert sum(f.stat().st_size for f in (tmp_path / "lib").iterdir()) < 3e6
    library = PhraseLibrary.open(tmp_path / "lib")
    tempos = {round(library[i].tempo / 10) * 10 for i in range(len(library))}
    assert tempos == set(TEMPOS)
    assert all(library[i].music is not None and library[i].beat_strength is not None for i in range(len(library)))
    assert (tmp_path / "lib" / "README.md").read_text().startswith("# Bundled phrase library\n")


def test_words_find_the_moves_that_they_name(tmp_path: Path) -> None:
    encoder = text_encoder("minilm")
    build_bundled(tmp_path / "lib", encoder)
    library = PhraseLibrary.open(tmp_path / "lib", (encoder.name, encoder.dim))
    wanted = {"kicking": "kick", "a slow waltz": "box", "jumping jacks": "jacks", "spinning around": "turn",
              "swaying gently with arms up": "sway", "hip hop bounce": "bounce"}  # fmt: skip
    for text, vector in zip(wanted, encoder.encode(list(wanted)), strict=True):
        hit = library.search(Query(vector, Music(120.0)), 1)[0]
        assert hit.phrase.source.startswith(f"synthetic/{wanted[text]}-")
        assert abs(hit.phrase.tempo - 120) <= 10
