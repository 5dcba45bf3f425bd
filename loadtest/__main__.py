"""`choreo loadtest`: make the runs, write the report, and turn thresholds into an exit code."""

import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Final

from choreo.command_line import FAILED, exit_code, say
from loadtest.options import Options, parse
from loadtest.report import Report
from loadtest.runs import carry_out
from loadtest.thresholds import distrusted

NOT_TRUSTWORTHY: Final = 3


def main(argv: Sequence[str]) -> int:
    """Run and report; the exit codes are in the epilog of `--help`."""
    return exit_code(lambda: _test(parse(argv), shlex.join(["choreo", "loadtest", *argv])))


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
        say("written: " + " ".join(map(str, files)))
    for line in [*missed, *doubts]:
        say(line)
    if signalled is not None:
        return 128 + signalled
    return NOT_TRUSTWORTHY if doubts else FAILED if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
