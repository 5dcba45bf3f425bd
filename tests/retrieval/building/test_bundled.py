from pathlib import Path

import numpy as np
from synthetic_phrases import WordEncoder

from choreo.data.synthetic.dances import MOVES
from choreo.data.synthetic.step_dances.catalogue import STEP_DANCES
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.skeleton import FPS
from choreo.text.encoders import text_encoder
from retrieval.building.bundled import STEP_DANCE_TEMPOS, TEMPOS, build_bundled
from retrieval.library.embedding import Music, Query
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import Phrase


def _phrases(library: PhraseLibrary, source: str) -> list[Phrase]:
    return [library[i] for i in range(len(library)) if library[i].source.startswith(source)]


def test_every_move_at_every_tempo_in_less_than_three_megabytes(tmp_path: Path) -> None:
    report = build_bundled(tmp_path / "lib", WordEncoder())
    assert report.skipped == []
    assert sum(f.stat().st_size for f in (tmp_path / "lib").iterdir()) < 3e6
    library = PhraseLibrary.open(tmp_path / "lib")
    assert len(library) == report.phrases
    moves = [
        phrase for phrase in map(library.__getitem__, range(len(library))) if phrase.source.startswith("synthetic/")
    ]
    assert len(moves) == len(MOVES) * len(TEMPOS)
    assert {round(phrase.tempo / 10) * 10 for phrase in moves} == set(TEMPOS)
    assert all(library[i].music is not None and library[i].beat_strength is not None for i in range(len(library)))
    assert (tmp_path / "lib" / "README.md").read_text().startswith("# Bundled phrase library\n")


def test_every_step_dance_is_in_it_at_its_own_tempos_on_still_feet(tmp_path: Path) -> None:
    build_bundled(tmp_path / "lib", WordEncoder())
    library = PhraseLibrary.open(tmp_path / "lib")
    phrases = _phrases(library, "steps/")
    for name, dance in STEP_DANCES.items():
        own = [phrase for phrase in phrases if phrase.source.startswith(f"steps/{name}-")]
        assert len({phrase.source for phrase in own}) == STEP_DANCE_TEMPOS
        assert {phrase.genre for phrase in own} == {dance.genre}
        assert all(dance.tempos[0] - 2 <= phrase.tempo <= dance.tempos[1] + 2 for phrase in own)
    skating = [foot_skating_ratio(library.motion(phrase), FPS) for phrase in phrases]
    assert np.mean(skating) < 0.1


def test_words_find_the_moves_that_they_name(tmp_path: Path) -> None:
    encoder = text_encoder("minilm")
    build_bundled(tmp_path / "lib", encoder)
    library = PhraseLibrary.open(tmp_path / "lib", (encoder.name, encoder.dim))
    wanted = {"kicking": "kick", "a slow waltz": "box", "jumping jacks": "jacks", "spinning around": "turn",
              "swaying gently with arms up": "sway", "hip hop bounce": "bounce"}  # fmt: skip
    for text, vector in zip(wanted, encoder.encode(list(wanted)), strict=True):
        hits = library.search(Query(vector, Music(120.0)), 5)
        hit = next(hit for hit in hits if hit.phrase.source.startswith("synthetic/"))
        assert hit.phrase.source.startswith(f"synthetic/{wanted[text]}-")
        assert abs(hit.phrase.tempo - 120) <= 10
