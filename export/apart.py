"""Building in a process of its own: torch and the exporter stay out of a server that lives for months.

`python -m export.apart CHECKPOINT ROOT` is that process. What the build returned or raised comes pickled on its
standard output.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from choreo.errors import ChoreoError, MissingDependency
from export.build import Built, build_repository, current_build


def build_apart(checkpoint: Path, root: Path) -> Built:
    """`build_repository` with its defaults; a process is started only if something is to be built.

    Raises:
        ChoreoError: what `build_repository` raises.
        MissingDependency: the process was killed, for want of memory perhaps.
    """
    current = current_build(checkpoint, root)
    if current is not None:
        return current
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    command = [sys.executable, "-P", "-m", "export.apart", str(checkpoint.absolute()), str(root.absolute())]
    # A process that is left alone ends with its pipe: nothing waits for it, and the repository is written atomically.
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise MissingDependency(
            f"the process that exports {checkpoint.name} ended with {done.returncode}; is there memory for it? "
            "`choreo export` does the same by itself"
        )
    answer = pickle.loads(done.stdout)
    if isinstance(answer, ChoreoError):
        raise answer
    assert isinstance(answer, Built)
    return answer


def main() -> None:
    """Build, and answer with a `Built` or a `ChoreoError`."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no part of the answer
    checkpoint, root = map(Path, sys.argv[1:])
    try:
        answer: object = build_repository(checkpoint, root)
    except ChoreoError as error:
        answer = error
    with answers:
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
