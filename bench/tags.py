"""The music tagger on programmed tracks of known dances: which dance is chosen from the song, and what it costs.

The dance is chosen by tempo and metre alone, by tags alone, or by both, among all dances whose music is known here.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from bench.beats import Song, synthesised, tracks
from bench.command import DATA, benchmark, quick
from bench.report import Row, skipped
from choreo.command_line import say
from choreo.music.beat_tracking.beats import beat_tracker
from choreo.music.tagging.dances import DANCES, tag_scores, tempo_scores
from choreo.music.tagging.musicnn import MODELS
from choreo.music.tagging.tagger import Tagger
from choreo.text.encoders import text_encoder

DANCED: Final = {
    "synth_waltz_slow_87": {"waltz"},
    "synth_waltz_viennese_174": {"viennese waltz"},
    "synth_tango_126": {"tango"},
    "synth_rumba_104": {"rumba"},
    "synth_chacha_120": {"cha cha"},
    "synth_salsa_166": {"salsa"},
    "synth_samba_102": {"samba"},
    "synth_swing_jive_168": {"rock and roll", "charleston"},
    "synth_house_124": {"house"},
    "synth_hiphop_92": {"hip hop"},
    "synth_funk_break_108": {"hip hop"},
    "synth_ballet_waltz_108": {"waltz", "viennese waltz", "lyrical"},
}
"""Dances that tracks of the data set were made for; the other tracks have none of `DANCES`."""


@benchmark
def main(
    data: Annotated[Path | None, DATA] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Tell every song.")] = False,
    quick: Annotated[bool, quick("one song of the synthesiser")] = False,
) -> Iterator[Row]:
    """Cost by model; hits by what a dance is chosen by."""
    taggers = {model: Tagger(model) for model in MODELS}
    (made,) = synthesised((120,), ("house",))
    for model, tagger in taggers.items():
        yield Row(model, "cost", round(_cost(tagger, made), 1), "ms a second of song")
    if data is None or quick:
        yield skipped("dances", "give --data, and not --quick")
        return
    songs = [song for song in tracks(data) if Path(song.name).stem in DANCED]
    yield Row("dances", "songs", len(songs), "")
    chance = np.mean([len(DANCED[Path(song.name).stem]) / len(DANCES) for song in songs])
    yield Row("dances, at random", "right", round(100 * float(chance), 1), "%")
    hits = _hits(songs, taggers, verbose)
    for case, right in hits.items():
        yield Row(f"dances, by {case}", "right", round(100 * float(np.mean(right)), 1), "%")


def _cost(tagger: Tagger, song: Song) -> float:
    """Milliseconds for a second of song, after a first call that loads the weights."""
    audio = song.audio.at(tagger.sample_rate)
    tagger.tag(audio)
    began = time.perf_counter()
    tagger.tag(audio)
    return 1000 * (time.perf_counter() - began) / audio.seconds


def _hits(songs: list[Song], taggers: dict[str, Tagger], verbose: bool) -> dict[str, list[bool]]:
    """Whether the dance was right, for each song, by what it was chosen by."""
    names, dances = list(DANCES), list(DANCES.values())
    tracker, encode = beat_tracker("beatnet"), text_encoder("minilm").encode
    hits: dict[str, list[bool]] = {}
    for song in songs:
        tempo = tempo_scores(dances, tracker.track(song.audio))
        scores = {"tempo and metre": tempo}
        for model, tagger in taggers.items():
            heard = tag_scores(dances, tagger.tag(song.audio), encode)
            scores |= {f"{model} tags": heard, f"tempo, metre and {model} tags": tempo + heard}
        for case, score in scores.items():
            chosen = names[int(np.argmax(score))]
            hits.setdefault(case, []).append(chosen in DANCED[Path(song.name).stem])
            if verbose:
                say(f"{song.name:32} by {case:30} {chosen}")
    return hits


if __name__ == "__main__":
    sys.exit(main())
