"""The deployments' classes without Ray."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_phrases import WordEncoder
from tiny_generator import tiny_spec

from choreo.errors import BackendUnavailable, InvalidArtifact
from retrieval.library.embedding import Query
from serving.pipeline.phrases import LibraryFacts, PhraseQuery, RetrievalResult, SearchResult
from serving.ray.remote import Failed
from serving.ray.replicas import EncoderReplica, FinisherReplica, RetrieverReplica, SamplerReplica
from serving.settings import Settings
from serving.stages.encoder import Encoder
from serving.stages.finisher import Finisher


class FakeEngine:
    """Remembers what was inferred; `down` makes it fail."""

    def __init__(self, down: bool = False) -> None:
        self.down = down
        self.rows: list[tuple[str, int]] = []

    async def models(self) -> dict[str, Any]:
        return {"tiny": tiny_spec()}

    async def infer(self, graph: str, inputs: dict[str, Any], *, deadline: float | None = None) -> dict[str, Any]:
        assert deadline is not None
        if self.down:
            raise BackendUnavailable("down")
        self.rows.append((graph, len(next(iter(inputs.values())))))
        return {}


def sampler(engine: FakeEngine) -> SamplerReplica:
    replica = SamplerReplica(["127.0.0.1:1"], Settings(sampler_concurrency=2))
    replica.stage._engine = engine
    return replica


def test_stages_are_made_of_the_settings() -> None:
    encoder, finisher = EncoderReplica(Settings()), FinisherReplica()
    assert isinstance(encoder.stage, Encoder)
    assert isinstance(finisher.stage, Finisher)
    assert asyncio.run(finisher.warm_up()) is None
    for replica in (encoder, finisher):
        replica.stage.close()


def test_warming_up_the_sampler_asks_both_graphs() -> None:
    engine = FakeEngine()
    assert asyncio.run(sampler(engine).warm_up()) is None
    assert engine.rows == [("tiny.conditioner", 1), ("tiny.denoiser", 1)]
    assert asyncio.run(sampler(engine).models()) == {"tiny": tiny_spec()}
    answer = asyncio.run(sampler(FakeEngine(down=True)).warm_up())
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, BackendUnavailable)


def test_the_retriever_answers_and_leaves_nothing_behind(libraries: tuple[Path, Path]) -> None:
    async def run() -> None:
        replica = RetrieverReplica(Settings(phrases=libraries[0], phrases_poll_s=0.001))
        words = tiny_spec().model_copy(update={"text_encoder": "words", "text_dim": 48})
        assert await replica.warm_up(words) is None
        facts = await replica.library()
        assert isinstance(facts, LibraryFacts)
        vector = WordEncoder().encode(["a dancer kicks"])[0]
        query = PhraseQuery(Query(text=vector), "a dancer kicks", "words", 90, np.zeros(0))
        retrieved, found = await asyncio.gather(replica.retrieve(query), replica.search(query, 3))
        assert isinstance(retrieved, RetrievalResult)
        assert isinstance(found, SearchResult)
        assert retrieved.prior is not None
        assert {p.id for p in retrieved.prior.phrases} <= {hit.phrase.id for hit in found.hits}
        failed = await replica.search(replace(query, text_encoder="minilm"), 3)
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, InvalidArtifact)
        replica.__del__()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert isinstance(await replica.search(query, 3), Failed)

    asyncio.run(run())
