"""`choreo loadtest`: make the runs, write the report, and turn thresholds into an exit code."""

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Final

from choreo.errors import ChoreoError, InvalidInput
from loadtest.options import Options, parse
from loadtest.report import Report
from loadtest.runs import carry_out
from loadtest.thresholds import distrusted

MISSED: Final = 1
BAD_INPUT: Final = 2
NOT_TRUSTWORTHY: Final = 3


def main(argv: Sequence[str]) -> int:
    """Run and report; see the epilog of `--help` for the exit codes."""
    try:
        options = parse(argv)
        return _test(options, shlex.join(["choreo", "loadtest", *argv]))
    except InvalidInput as error:
        _say(f"choreo: {error}")
        return BAD_INPUT
    except (ChoreoError, OSError) as error:
        _say(f"choreo: {error}")
        return MISSED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _test(options: Options, command: str) -> int:
    runs, signalled = asyncio.run(carry_out(options))
    missed = [line for run in runs for line in options.thresholds.missed(run.figures)]
    doubts = [line for run in runs if (line := distrusted(run.figures, options.max_lag_s))]
    report = Report(options.url, options.scenario, command, runs, missed, doubts, signalled is not None)
    files = report.write(options.out)
    if options.as_json:
        print(json.dumps(report.document() | {"files": [str(path) for path in files]}, allow_nan=False))
    else:
        print(report.markdown())
        _say("written: " + " ".join(map(str, files)))
    for line in [*missed, *doubts]:
        _say(line)
    if signalled is not None:
        return 128 + signalled
    return NOT_TRUSTWORTHY if doubts else MISSED if missed else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
