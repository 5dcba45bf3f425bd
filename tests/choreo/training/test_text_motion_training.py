import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_text_motion import NETWORK, FakeSentenceEncoder, clip, model

from choreo.data.clip import Clip
from choreo.data.windows.captioned import (
    CaptionedWindows,
    PairOptions,
    Sentences,
    canonical_statistics,
    captioned_motions,
)
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.evaluation.retrieval_precision import recall_at
from choreo.evaluation.text_motion import encode_features, encode_sentences
from choreo.models.tmr import TextMotionSpec, load_text_motion
from choreo.training.contrastive import ContrastiveWeights, info_nce, kl_divergence, true_of
from choreo.training.held_out_retrieval import WAYS, HeldOutRetrieval, full_recall, selection_score
from choreo.training.loop import TrainingRun, num_windows
from choreo.training.options import TrainConfig
from choreo.training.recipe import TextMotionRecipe, load_recipe
from choreo.training.run import train
from choreo.training.tmr import TextMotionTask, train_text_motion

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def clips(count: int) -> list[Clip]:
    return [clip(i, f"dance number {i}") for i in range(count)]


def recipe(**changes: object) -> TextMotionRecipe:
    options = {
        "max_steps": 6, "batch_size": 8, "warmup_steps": 1, "learning_rate": 3e-3, "ema_decay": 0.8, "log_every": 100,
        "validate_every": 3, "save_every": 3, "tracker": "none",
    }  # fmt: skip
    train_options = TrainConfig.model_validate(options | changes)
    losses = ContrastiveWeights(contrastive=1.0)
    return TextMotionRecipe(name="test", network=NETWORK, losses=losses, patience=100, train=train_options)


def trainer(folder: Path, r: TextMotionRecipe, data: list[Clip], held_out: bool = True) -> TrainingRun:
    encoder = FakeSentenceEncoder()
    mean, std = canonical_statistics(data)
    spec = TextMotionSpec(name=r.name, network=r.network, mean=mean, std=std)
    options = PairOptions(mirror=0.0, speed=0.0, attribute=0.0, crop=0.0)
    sentences = Sentences(data, encoder, r.losses.similarity)
    windows = CaptionedWindows(data, sentences, num_windows(r.train), r.train.seed, options)
    pairs = captioned_motions(data)
    scored = HeldOutRetrieval.of(pairs, encoder) if held_out else None
    return TrainingRun(TextMotionTask(r, spec, windows, scored), folder)


def test_eight_pairs_are_learned_by_heart(tmp_path: Path) -> None:
    data = clips(8)
    folder = trainer(tmp_path, recipe(max_steps=60, batch_size=8, validate_every=60), data, held_out=False).run()
    network = load_text_motion(folder)
    pairs = captioned_motions(data)
    motions = encode_features(network, [p.features for p in pairs])
    texts = encode_sentences(network, FakeSentenceEncoder().encode([p.caption for p in pairs]))
    assert len(pairs) == 8
    assert recall_at(texts, motions, tops=(1,)) == ((1,), (1,))


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    data, r = clips(3), recipe()
    trainer(tmp_path / "whole", r, data).run()
    trainer(tmp_path / "parts", r, data).run(until=3)
    second = trainer(tmp_path / "parts", r, data)
    assert second.step == 3
    second.run()
    whole, parts = (torch.load(tmp_path / f / "checkpoints/step_00000006/state.pt") for f in ("whole", "parts"))
    assert whole["best"] == parts["best"]
    for name, value in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], value, atol=1e-5, rtol=1e-4)


class FakeHeldOut(HeldOutRetrieval):
    """Scores that were written down beforehand."""

    given = (0.2, 0.6, 0.5, 0.4, 0.9)

    def scores(self, model: object) -> dict[str, float]:
        seen = len(self.seen)
        self.seen.append(seen)
        ways = ("text_to_motion", "motion_to_text")
        return {f"full/{way}@{k}": self.given[seen] for way in ways for k in (1, 2, 3)}

    def __init__(self) -> None:
        object.__setattr__(self, "seen", [])


def test_a_run_ends_when_it_no_longer_improves_and_keeps_its_best(tmp_path: Path) -> None:
    r = recipe(max_steps=40, validate_every=1, save_every=1).model_copy(update={"patience": 2})
    run = trainer(tmp_path, r, clips(3))
    assert isinstance(run.task, TextMotionTask)
    run.task.held_out = FakeHeldOut()
    folder = run.run()
    assert (run.step, run.task.best.value, run.task.best.step) == (4, 0.6, 2)
    assert json.loads((folder / "scores.json").read_text())["step"] == 2


def test_another_architecture_does_not_resume(tmp_path: Path) -> None:
    data = clips(3)
    trainer(tmp_path, recipe(), data).run(until=3)
    other = recipe().model_copy(update={"network": NETWORK.model_copy(update={"latent_dim": 8})})
    with pytest.raises(InvalidArtifact, match="another architecture"):
        trainer(tmp_path, other, data)


def test_a_sentence_that_is_true_of_another_motion_is_no_negative() -> None:
    latents = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    everything = torch.eye(3, dtype=torch.bool)
    filtered = everything.clone()
    filtered[0, 1] = filtered[1, 0] = True
    assert info_nce(latents, latents, filtered, 0.1) < info_nce(latents, latents, everything, 0.1)
    assert info_nce(latents, latents, torch.ones(3, 3, dtype=torch.bool), 0.1) == 0


def test_true_sentences_have_a_like_caption_and_state_nothing_untrue() -> None:
    batch = {
        "caption": torch.tensor([[0.0], [1.0], [2.0]]),
        "true_captions": torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]),
        "true_attributes": torch.tensor([[1.0, 0], [0, 0], [1, 1]]),
        "stated": torch.tensor([[1.0, 0], [0, 0], [0, 1]]),
    }
    assert true_of(batch).tolist() == [[True, True, False], [False, True, False], [False, False, True]]


def test_pairs_say_what_is_true_of_them() -> None:
    data = [clip(0, "raises the left arm"), clip(1, "raises the right arm"), clip(2, "walks")]
    windows = CaptionedWindows(data, Sentences(data, FakeSentenceEncoder(), 0.8), 40)
    for pair in (windows[i] for i in range(40)):
        assert pair["true_captions"][int(pair["caption"][0])]
        assert (pair["true_attributes"] >= pair["stated"]).all()
        assert not pair["features"][pair["mask"] == 0].any()
        np.testing.assert_allclose(np.linalg.norm(pair["text"]), 1, rtol=1e-5)


def test_retrieval_is_scored_against_chance() -> None:
    pairs = captioned_motions([*clips(4), clip(3, "dance number 3")])
    scores = HeldOutRetrieval.of(pairs, FakeSentenceEncoder()).scores(model())
    assert scores["full/text_to_motion_chance@1"] == pytest.approx((3 * 1 / 5 + 2 / 5) / 4)
    assert scores["full/motion_to_text_chance@3"] == pytest.approx(3 / 4)
    assert not any(name.startswith("pool/") for name in scores)
    many = captioned_motions([clip(i, f"dance number {i}", 60) for i in range(40)])
    pooled = HeldOutRetrieval.of(many, FakeSentenceEncoder()).scores(model())
    assert pooled["pool/chance@2"] == 2 / 32
    assert 0 <= selection_score(pooled) < 0.3


def test_motions_of_one_sentence_answer_for_each_other_over_the_whole_set() -> None:
    sentences = ["a", "b", "a", "b", "c"]
    perfect = np.eye(3, dtype=np.float32)[[0, 1, 0, 1, 2]]
    assert all(full_recall(perfect, perfect, sentences)[f"{way}@1"] == 1 for way in WAYS)
    swapped = np.eye(3, dtype=np.float32)[[1, 0, 1, 0, 2]]
    scores = full_recall(perfect, swapped, sentences)
    assert [scores[f"{way}@1"] for way in WAYS] == [pytest.approx(1 / 3), pytest.approx(1 / 5)]
    collapsed = full_recall(np.ones_like(perfect), np.ones_like(perfect), sentences)
    assert not any(collapsed[f"{way}@1"] for way in WAYS)


def test_random_latents_score_as_chance_does() -> None:
    rng = np.random.default_rng(0)
    sentences = [str(i % 20) for i in range(60)]
    runs = [full_recall(*rng.normal(size=(2, 60, 4)).astype(np.float32), sentences) for _ in range(300)]
    for name in (f"{way}@{k}" for way in WAYS for k in (1, 2, 3)):
        expected = runs[0][name.replace("@", "_chance@")]
        assert np.mean([run[name] for run in runs]) == pytest.approx(expected, abs=0.02)


def test_divergence_of_gaussians() -> None:
    p = (torch.tensor([[1.0]]), torch.tensor([[0.0]]))
    q = (torch.tensor([[0.0]]), torch.tensor([[np.log(4.0)]]))
    assert float(kl_divergence(p, p)) == 0
    assert float(kl_divergence(p, q)) == pytest.approx(np.log(2) + 2 / 8 - 0.5, abs=1e-6)


def test_the_kind_of_a_recipe_decides_what_is_trained(tmp_path: Path) -> None:
    read = load_recipe(RECIPES / "tmr-small.yaml")
    assert isinstance(read, TextMotionRecipe)
    with pytest.raises(InvalidInput) as error:
        train(read, None, tmp_path)
    assert error.value.field == "data"
    path = tmp_path / "r.yaml"
    path.write_text("kind: poem\nname: x\n")
    with pytest.raises(InvalidInput) as error:
        load_recipe(path)
    assert error.value.field == "kind"
    path.write_text("kind: text-motion\nname: x\ntrain:\n  gradient_accumulation: 2\n")
    with pytest.raises(InvalidInput, match="contrasted"):
        load_recipe(path)


def test_one_call_goes_from_clips_to_encoders(tmp_path: Path) -> None:
    folder = train_text_motion(recipe(), clips(4), clips(2), FakeSentenceEncoder(), tmp_path)
    assert load_text_motion(folder).spec.name == "test"
    assert model().spec.network == NETWORK
