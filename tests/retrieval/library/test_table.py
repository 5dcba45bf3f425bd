from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from choreo.errors import InvalidArtifact
from retrieval.building.table_stream import phrase_batches
from retrieval.library.library import PhraseLibrary
from retrieval.library.phrases import Phrase
from retrieval.library.song_summary import SUMMARY
from retrieval.library.table import REPEATED, PhraseTable


@pytest.fixture
def phrases(library: PhraseLibrary) -> list[Phrase]:
    found = [library[i] for i in range(len(library))]
    found[1] = replace(found[1], beats=(), beat_strength=0.25, music=tuple(range(len(SUMMARY))), style="größer")
    return found


@pytest.fixture
def path(phrases: list[Phrase], tmp_path: Path) -> Path:
    """In several row groups, whose dictionaries differ."""
    parquet.write_table(PhraseTable.of(phrases).arrow, str(tmp_path / "t.parquet"), row_group_size=2)
    return tmp_path / "t.parquet"


def test_phrases_come_back_in_any_order_and_number(path: Path, phrases: list[Phrase]) -> None:
    table = PhraseTable.read(path)
    assert len(table) == len(phrases)
    assert [table[i] for i in range(len(table))] == phrases
    rows = np.array([4, 1, 1, 0])
    assert table.phrases(rows) == [phrases[i] for i in rows]
    assert table.phrases([]) == []
    assert PhraseTable.of(phrases).phrases(rows) == table.phrases(rows)
    assert isinstance(table[1].start, float)
    assert isinstance(table[1].num_frames, int)


@pytest.mark.parametrize("row", [-1, 6, 10**9])
def test_there_is_no_other_row(path: Path, row: int) -> None:
    with pytest.raises(IndexError):
        PhraseTable.read(path)[row]


def test_columns_are_arrays(path: Path, phrases: list[Phrase]) -> None:
    table = PhraseTable.read(path)
    for name in ("num_frames", "first_row", "tempo"):
        assert table.numbers(name).tolist() == [getattr(p, name) for p in phrases]
    for name in REPEATED:
        codes, texts = table.codes(name)
        assert len(texts) == len(set(texts))
        assert [texts[code] for code in codes] == [getattr(p, name) for p in phrases]


@pytest.mark.parametrize("column", ["stats", "music"])
def test_lists_of_another_length_are_found_out_when_opening(phrases: list[Phrase], tmp_path: Path, column: str) -> None:
    phrases[3] = replace(phrases[3], **{column: (1.0, 2.0)})
    parquet.write_table(PhraseTable.of(phrases).arrow, str(tmp_path / "t.parquet"))
    with pytest.raises(InvalidArtifact, match=column):
        PhraseTable.read(tmp_path / "t.parquet")


def test_a_library_with_the_column_of_version_0_1_can_be_read(
    phrases: list[Phrase], path: Path, tmp_path: Path
) -> None:
    whole = parquet.read_table(str(path))
    numbers = pyarrow.array([[0.5] * 9] * len(whole), pyarrow.list_(pyarrow.float64()))
    place = whole.schema.get_field_index("stats") + 1
    parquet.write_table(whole.add_column(place, "kinetic", numbers), str(tmp_path / "old.parquet"))
    assert PhraseTable.read(tmp_path / "old.parquet").phrases(range(len(phrases))) == phrases
    assert [phrase for batch in phrase_batches(tmp_path / "old.parquet") for phrase in batch] == phrases


def test_empty_cells_and_other_columns_are_found_out_when_opening(path: Path) -> None:
    whole = parquet.read_table(str(path))
    broken = whole.set_column(6, whole.schema.field("style"), pyarrow.array([None] * len(whole), pyarrow.string()))
    for table, said in ((broken, "empty"), (whole.drop_columns(["style"]), "columns")):
        parquet.write_table(table, str(path))
        with pytest.raises(InvalidArtifact, match=said):
            PhraseTable.read(path)
