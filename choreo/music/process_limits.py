"""Hard limits on a process that reads untrusted bytes."""

import resource
from typing import Final

MAX_OTHER_OUTPUT: Final = 64 << 20
"""Bytes that a decoder may write to files where its output is not measured, such as its messages."""


def limit_process(memory_bytes: int, cpu_seconds: int, output_bytes: int = MAX_OTHER_OUTPUT, process: int = 0) -> None:
    """Set limits that the process cannot raise again; 0 is this one.

    Raises:
        OSError: the process has ended, or belongs to somebody else.
    """
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        # The signal of the soft limit tells the parent that time ran out; SIGKILL at the hard limit would not.
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, output_bytes, output_bytes),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, inherited = resource.prlimit(process, what)
        if inherited != resource.RLIM_INFINITY:
            soft, hard = min(soft, inherited), min(hard, inherited)
        resource.prlimit(process, what, (soft, hard))
