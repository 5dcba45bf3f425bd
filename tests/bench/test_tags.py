"""The benchmark of the music tagger."""

import json

import pytest
from tests_data import data_pack

from bench.beats import tracks
from bench.tags import DANCED, main
from choreo.music.tagging.dances import DANCES


def test_one_song(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json"]) == 0
    rows = {(row["case"], row["metric"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["msd", "cost"]["value"] > 0
    assert ("dances", "skipped") in rows


def test_the_dances_are_known() -> None:
    assert set().union(*DANCED.values()) <= set(DANCES)


def test_the_tracks_are_in_the_data_set() -> None:
    assert set(DANCED) <= {song.name.removesuffix(".ogg") for song in tracks(data_pack())}
