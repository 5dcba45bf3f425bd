"""The serving benchmark's order, loads and sums, with golden numbers; servers are in `test_serving_peers`."""

import json
from collections.abc import Sequence

import pytest

from bench.peers.process import label
from bench.peers.table import PEERS, Peer, find_peers
from bench.raw_engine import Raw, Speed
from bench.report import Row
from bench.serving import CONCURRENCY, main, make_plan
from bench.serving_figures import Findings, Round, metrics, ratios, rows_of, unit
from bench.serving_load import FRACTIONS, Cell, Load, body, order, request, sweep, whole
from loadtest.figures import figures
from loadtest.samples import Outcome, Sample
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings

AROUND = Speed(200.0, 0.008, 100.0)
RAW = Raw({1: 100.0, 8: 200.0}, sgemm_gflops=100.0, alone_s={"choreo-batched": 0.5})


def served(latencies: Sequence[float], failed: int = 0) -> list[Sample]:
    """Requests one after the other, each of a second of motion."""
    out, now = [], 0.0
    for index, latency in enumerate(latencies):
        out.append(Sample(index, "motion", now, now, now + latency, Outcome.SERVED, 200, 100, 30))
        now += latency
    for index in range(failed):
        out.append(Sample(len(out), "motion", index / 100, index / 100, index / 100 + 0.01, Outcome.FAILED, error="x"))
    return out


def cell(peer: str, latencies: Sequence[float], load: Load | None = None, rows: float = 100.0, failed: int = 0) -> Cell:
    load, samples = load or Load(users=1), served(latencies, failed)
    found = figures(load.label, samples, whole(samples))
    return Cell(peer, load, found, rows, AROUND, {"python": 3.0, "tritonserver": 0.99, "raylet": 0.01}, 0.2, 512.0)


def findings(*rounds: dict[str, Cell]) -> Findings:
    return Findings(0.25, [Round(RAW, {(c.peer, c.load.label): c for c in one.values()}) for one in rounds])


def values(rows: Sequence[Row]) -> dict[tuple[str, str], float | None]:
    return {(row.case, row.metric): row.value for row in rows}


def test_every_second_round_goes_back_to_front() -> None:
    assert [order("ABC", number) for number in range(3)] == [["A", "B", "C"], ["C", "B", "A"], ["A", "B", "C"]]


def test_the_sweep_is_a_share_of_the_best_throughput_at_equal_steps() -> None:
    assert [load.rate for load in sweep(8.0, (0.25, 0.75))] == [2.0, 6.0]
    assert [load.label for load in sweep(8.0)] == [f"open-{share:g}" for share in FRACTIONS]
    assert sweep(0.0) == []
    found = findings(
        {"a": cell("documents-onnx", [0.5]), "b": cell("choreo-fast", [0.01]), "c": cell("litserve", [0.25])},
        {"a": cell("documents-onnx", [0.5]), "c": cell("litserve", [0.125])},
    )
    assert found.best_throughput(["documents-onnx", "litserve"]) == pytest.approx((4 + 8) / 2, rel=1e-4)
    assert found.best_throughput(["ray-batch"]) == 0


def test_a_cell_counts_all_work_from_the_first_request_to_the_last_answer() -> None:
    found = metrics(cell("choreo-batched", [0.5, 0.5, 1.0, 2.0], failed=1), 0.25)
    assert found["motions_per_s"] == pytest.approx(1.0, rel=1e-4)
    assert found["motion_seconds_per_s"] == pytest.approx(1.0, rel=1e-4)
    assert (found["p50_s"], found["p95_s"], found["p99_s"]) == (0.5, 2.0, 2.0)
    assert found["evaluations_per_s"] == pytest.approx(100.0, rel=1e-4)
    assert found["fraction_of_raw_engine"] == pytest.approx(0.5, rel=1e-4)
    assert found["fraction_of_gemm_peak"] == pytest.approx(0.25, rel=1e-4)
    assert found["cpu_s_per_motion"] == pytest.approx(1.0)
    assert found["engine_fraction_of_cpu"] == pytest.approx(0.8)
    assert found["cpu_s_per_motion of python"] == pytest.approx(0.75)
    assert "cpu_s_per_motion of raylet" not in found
    assert found["cores_used"] == pytest.approx(1.0, rel=1e-4)
    assert (found["requests"], found["errors"], found["shed"]) == (5, 1, 0)


def test_a_cell_in_which_nothing_was_served_has_no_latency_and_is_still_a_document() -> None:
    nothing = cell("litserve", [], failed=3)
    found = metrics(nothing, 0.25)
    assert found["p95_s"] is None
    assert found["cpu_s_per_motion"] is None
    rows = list(rows_of(findings({"a": nothing})))
    assert values(rows)["litserve/1", "errors"] == 3
    json.dumps([row.value for row in rows], allow_nan=False)


def test_a_cell_without_any_arrival_is_a_count_of_none() -> None:
    assert metrics(cell("litserve", []), 0.25) == {"requests": 0}


def test_values_are_medians_over_rounds_and_what_went_wrong_is_summed_up() -> None:
    rounds = [{"a": cell("litserve", [s], failed=n)} for s, n in ((0.5, 1), (0.25, 0), (1.0, 2))]
    found = values(list(rows_of(findings(*rounds))))
    assert found["litserve/1", "motions_per_s"] == pytest.approx(2.0, rel=1e-4)
    assert found["litserve/1", "errors"] == 3
    assert found["litserve/1", "motions_per_s_spread"] == pytest.approx(3 / 2, rel=1e-4)
    assert found["engine/8", "fraction_of_gemm_peak"] == pytest.approx(0.5)
    assert found["engine/best", "evaluations_per_s"] == 200
    assert found["in process/choreo-batched", "motion_s"] == 0.5


def test_ratios_are_taken_within_a_round() -> None:
    one = {"a": cell("documents-torch", [1.0]), "b": cell("choreo-batched", [0.5])}
    other = {"a": cell("documents-torch", [2.0]), "b": cell("choreo-batched", [0.25])}
    found = values(list(rows_of(findings(one, other))))
    assert found["choreo-batched/1", "motions_per_s / documents-torch"] == pytest.approx((2 + 8) / 2, rel=1e-4)
    assert found["choreo-batched/1", "p50_s / in process"] == pytest.approx((1 + 0.5) / 2)
    assert ("documents-torch/1", "motions_per_s / documents-torch") not in found


def test_a_song_is_set_beside_its_windows_sent_apart() -> None:
    song = cell("choreo-batched", [4.0], Load(users=1, name="song"), rows=400.0)
    apart = cell("choreo-batched", [0.5], Load(users=16))
    one = findings({"a": song, "b": apart}).rounds[0]
    assert ratios(one, ("choreo-batched", "song"), 0.25)["evaluations_per_s / windows apart"] == pytest.approx(
        0.5, rel=1e-4
    )


def test_a_peer_that_could_not_be_measured_is_a_row_with_the_reason() -> None:
    found = findings({})
    found.failures.append(("litserve", "round 1: it is not installed"))
    row = list(rows_of(found))[-1]
    assert (row.case, row.metric, row.value, row.unit) == ("litserve", "skipped", None, "round 1: it is not installed")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("motions_per_s", "motions/s"),
        ("evaluations_per_s", "rows/s"),
        ("p95_s", "s"),
        ("cpu_s_per_motion of raylet", "s"),
        ("p95_s / documents-torch", ""),
        ("fraction_of_raw_engine", ""),
        ("errors", ""),
    ],
)
def test_units_follow_from_names(metric: str, expected: str) -> None:
    assert unit(metric) == expected


def test_all_peers_are_asked_for_the_same_and_may_be_asked_for_it() -> None:
    jobs = {peer.name: validated_request(parse_fields(body(peer, 3, 50)), Attachments(), Settings()) for peer in PEERS}
    fast = jobs.pop("choreo-fast")
    assert (fast.sampler, fast.num_steps) == ("dpm++2m", 6)
    assert len({(job.text, job.seed, job.num_steps, job.sampler, job.num_frames) for job in jobs.values()}) == 1
    assert jobs["litserve"].num_frames == 196
    assert json.loads(request(PEERS[0], 3, 50).body) == body(PEERS[0], 3, 50)
    assert body(PEERS[0], 3, 50)["text_prompt"] != body(PEERS[0], 4, 50)["text_prompt"]


def test_the_command_line_makes_the_plan() -> None:
    plan = make_plan(peers="litserve,documents-torch", steps=10, concurrency="2,8")
    assert [peer.name for peer in plan.peers] == ["documents-torch", "litserve"]
    assert (plan.users, plan.steps, plan.seconds) == ((2, 8), 10, 20.0)
    whole_plan = make_plan()
    assert (len(whole_plan.peers), whole_plan.users) == (8, CONCURRENCY)
    quick = make_plan(quick=True, seconds=1.0, fractions="0,0.5")
    assert (len(quick.peers), quick.rounds, quick.seconds, quick.fractions) == (2, 1, 1.0, (0.5,))
    labels = [load.label for load in plan.closed(find_peers(["choreo-batched"])[0])]
    assert labels == ["2", "8", "song"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--peers", "nobody"], ["--peers", ","], ["--concurrency", "0"], ["--concurrency", "many"],
        ["--steps", "0"], ["--steps", "9999"], ["--rounds", "0"], ["--seconds", "-1"], ["--seconds", "nan"],
        ["--open", "3"],
    ],
)  # fmt: skip
def test_senseless_options_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"choreo: {argv[0].removeprefix('--')}:")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/usr/bin/python", "-m", "bench.peers", "documents", "1"], "bench.peers"),
        (["ray::ServeReplica:choreo:Sampler"], "ray::ServeReplica:choreo:Sampler"),
        (["ray::IDLE", "", ""], "ray::IDLE"),
        (["/opt/x/tritonserver", "--id=1"], "tritonserver"),
        (["/usr/bin/python", "-m"], "python"),
        ([], "unnamed"),
    ],
)
def test_processes_are_called_by_what_they_run(command: list[str], expected: str) -> None:
    assert label(command) == expected


def test_names_of_peers_are_unique_and_kept_in_order() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert find_peers([PEERS[2].name, PEERS[0].name]) == [PEERS[0], PEERS[2]]
    assert Peer("x", ("y",)).equal
