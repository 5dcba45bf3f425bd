"""Probes of readiness: one at a time, and an answer soon, whatever the stages do."""

import asyncio

import pytest

from choreo.errors import BackendUnavailable
from serving.http import readiness
from serving.http.readiness import Readiness


class FakeStages:
    """Answer once they may."""

    def __init__(self) -> None:
        self.may, self.asked, self.error = asyncio.Event(), 0, None

    async def probe(self) -> None:
        self.asked += 1
        await self.may.wait()
        if self.error is not None:
            raise self.error


def test_stages_that_hang_are_not_waited_for_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.01)

    async def main() -> None:
        stages = FakeStages()
        ready = Readiness(stages.probe)
        answers = await asyncio.gather(*(ready.check() for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {BackendUnavailable}
        assert stages.asked == 1
        stages.may.set()
        await ready.check()
        assert stages.asked == 1

    asyncio.run(main())


def test_a_good_answer_stands_while_a_probe_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.01)
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    monkeypatch.setattr(readiness, "LONGEST_S", 0.05)

    async def main() -> None:
        stages = FakeStages()
        ready = Readiness(stages.probe)
        stages.may.set()
        await ready.check()
        stages.may.clear()
        await ready.check()
        monkeypatch.setattr(readiness, "STANDS_S", 0.0)
        with pytest.raises(BackendUnavailable):
            await ready.check()
        monkeypatch.setattr(readiness, "PATIENCE_S", 60)
        with pytest.raises(BackendUnavailable, match="in time"):  # the probe's own bound
            await ready.check()
        stages.may.set()
        stages.error = RuntimeError("broken")
        with pytest.raises(RuntimeError, match="broken"):
            await ready.check()

    asyncio.run(main())
