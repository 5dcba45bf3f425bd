"""A server that is told to stop: no new requests, and time for those inside."""

import asyncio
import time

import pytest

from choreo.errors import BackendUnavailable, DeadlineExceeded
from serving.errors import ShuttingDown
from serving.http.problems import problem_of
from serving.pipeline.admission import Admission


def test_those_inside_are_waited_for_and_new_ones_are_refused() -> None:
    async def main() -> None:
        admission = Admission(1, 0)
        with admission.place():
            draining = asyncio.create_task(admission.drain(60))
            await asyncio.sleep(0)
            with pytest.raises(ShuttingDown), admission.place():
                pass
            with pytest.raises(BackendUnavailable):
                admission.check_open()
            assert not draining.done()
            assert not await admission.drain(0)
        assert await draining
        problem = problem_of(ShuttingDown())
        assert problem.status == 503
        assert problem.headers is not None
        assert "Retry-After" in problem.headers

    asyncio.run(main())


def test_idle_turns_are_those_that_nobody_needs() -> None:
    async def main() -> None:
        admission, later = Admission(2, 5), time.time() + 60
        assert admission.idle == 2
        with admission.place():
            assert admission.idle == 1
            async with admission.turn(later):
                assert admission.idle == 1
                async with admission.turn(later):
                    assert admission.idle == 0
                    with pytest.raises(DeadlineExceeded):
                        async with admission.turn(0):
                            pass
                assert admission.idle == 1
        assert admission.idle == 2

    asyncio.run(main())
