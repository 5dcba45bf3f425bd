from pathlib import Path
from typing import Any

import pytest

from choreo.errors import InvalidArtifact
from loadtest.samples import Answer, Outcome, Sample, SampleLog, read_samples


def test_samples_are_written_as_they_come_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    served = Sample.of(0, "prompt", (0.1234567, 0.2, 1.5), Answer(Outcome.SERVED, 200, 10, 30))
    with SampleLog(path) as log:
        log.add(served)
        assert read_samples(path) == [served]
        log.add(Sample.dropped(1, "song", 0.5))
        assert log.progress(3.2) == "3 s  served 1  dropped 1"
    assert [s.outcome for s in read_samples(path)] == [Outcome.SERVED, Outcome.DROPPED]
    assert served.latency == pytest.approx(1.376543)


def test_a_last_line_that_was_cut_off_is_left_out_and_a_broken_one_is_an_error(tmp_path: Path, sample: Any) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(sample(0, 1).line() + sample(1, 2).line()[:-9])
    assert len(read_samples(path)) == 1
    path.write_text("{}\n" + sample(1, 2).line())
    with pytest.raises(InvalidArtifact, match="line 1"):
        read_samples(path)


def test_samples_of_two_runs_never_mix(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").touch()
    with pytest.raises(FileExistsError):
        SampleLog(tmp_path / "samples.jsonl")


def test_what_has_no_end_has_no_latency() -> None:
    with pytest.raises(ValueError, match="no end"):
        _ = Sample.dropped(7, "song", 0.5).latency
