"""Locust users, in a process of their own because importing locust patches the standard library with gevent.

`python -m loadtest.locust_users PLAN`, where PLAN is a `LocustPlan` as JSON. Samples go to the plan's file. Locust's
own figures are rounded and appear on its web page only.
"""

import ctypes
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent
import gevent.event
import locust
import locust.env
import requests

from loadtest.answers import MAX_BODY, judged, too_large, unreached
from loadtest.locust_process import LocustPlan
from loadtest.progress import Progress
from loadtest.samples import Answer, Outcome, Sample, SampleLog
from loadtest.scenarios import LoadRequest, Requests, Scenario, requests_of
from loadtest.sending import Clock, Record, clock_from_now

PAGE_HOST: Final = "127.0.0.1"
PROGRESS_S: Final = 1.0
_BLOCK: Final = 1 << 16


def main() -> int:
    """Run the users; SIGTERM stops them at once and records requests in flight as unfinished."""
    plan = LocustPlan(**json.loads(sys.argv[1]))
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: no load without a reader of the samples
    if os.getppid() != plan.parent:
        return 1
    stop = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    wanted = requests_of(Scenario(plan.scenario), plan.seed)
    with SampleLog(Path(plan.samples)) as log, Progress() as progress:
        clock = clock_from_now()
        ticker = gevent.spawn(_tick, lambda: progress.show(log.progress(clock())))
        _run(plan, user_class(plan, wanted, log.add, clock), stop)
        ticker.kill()
    return 0


def _run(plan: LocustPlan, user: type[locust.User], stop: gevent.event.Event) -> None:
    """Spawn the users; let them finish when the time is up, or kill them when `stop` is set."""
    env = locust.env.Environment(user_classes=[user], host=plan.url, stop_timeout=plan.timeout_s)
    runner = env.create_local_runner()
    if plan.page_port is not None:
        env.create_web_ui(PAGE_HOST, plan.page_port)
        print(f"locust's web page: http://{PAGE_HOST}:{plan.page_port}", file=sys.stderr, flush=True)
    runner.start(plan.users, spawn_rate=plan.spawn_rate)
    if stop.wait(plan.seconds):
        env.stop_timeout = 0
    quitting = gevent.spawn(runner.quit)
    while not quitting.ready():
        if stop.wait(PROGRESS_S):
            runner.user_greenlets.kill()
            quitting.join()
    if env.web_ui is not None:
        env.web_ui.stop()


def _tick(show: Callable[[], None]) -> None:
    while True:
        show()
        gevent.sleep(PROGRESS_S)


def user_class(plan: LocustPlan, wanted: Requests, record: Record, clock: Clock) -> type[locust.User]:
    """The class of the users, who each send a request, wait for the answer, and send the next one."""
    numbers = itertools.count()

    class Dancer(locust.User):
        def on_start(self) -> None:
            self.connections = requests.Session()
            self.connections.trust_env = False
            self.free = clock()

        def on_stop(self) -> None:
            self.connections.close()

        @locust.task
        def dance(self) -> None:
            index = next(numbers)
            request = wanted(index)
            started, answer = clock(), Answer(Outcome.UNFINISHED)
            try:
                answer = sent(self.connections, plan, request)
            finally:  # a killed user still leaves a sample
                ended = clock()
                record(Sample.of(index, request.kind, (self.free, started, ended), answer))
            self._tell_locust(request, answer, ended - self.free)
            gevent.sleep(min(answer.pause_s, max(plan.seconds - clock(), 0)))
            self.free = clock() if answer.pause_s else ended

        def _tell_locust(self, request: LoadRequest, answer: Answer, latency: float) -> None:
            self.environment.events.request.fire(
                request_type=request.method,
                name=request.kind,
                response_time=1000 * latency,
                response_length=answer.bytes,
                exception=None if answer.error is None else RuntimeError(answer.error),
                context={},
            )

    return Dancer


def sent(connections: requests.Session, plan: LocustPlan, wanted: LoadRequest) -> Answer:
    """Send a request, stream the answer up to `MAX_BODY` bytes, and check it."""
    asked = requests.Request(wanted.method, plan.url + wanted.path, wanted.headers, data=wanted.body)
    try:
        with (
            gevent.Timeout(plan.timeout_s),
            connections.send(connections.prepare_request(asked), stream=True, allow_redirects=False) as response,
        ):
            body = bytearray()
            for block in response.iter_content(_BLOCK):
                body += block
                if len(body) > MAX_BODY:
                    return too_large(response.status_code)
    except gevent.Timeout:
        return unreached("no answer in time")
    except requests.RequestException as error:
        return unreached(type(error).__name__)
    return judged(wanted, response.status_code, response.headers, bytes(body))


if __name__ == "__main__":
    sys.exit(main())
