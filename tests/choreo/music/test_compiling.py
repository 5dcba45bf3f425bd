"""While librosa is imported, and so compiled, no other process can do the same."""

import subprocess
import sys

LOAD_AND_WATCH_THE_LOCK = """
import fcntl, importlib.abc, importlib.util, sys, time

origin = importlib.util.find_spec("librosa").origin

def is_locked():
    with open(origin, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("librosa."):
            seen.append((name, is_locked()))
        return None

seen = []
sys.meta_path.insert(0, Watch())
from choreo.music.compiling import load_librosa
assert not seen
librosa = load_librosa()
import numpy
assert {"librosa.util", "librosa.core", "librosa.beat"} <= {name for name, _ in seen}
assert all(locked for _, locked in seen), seen
while is_locked():  # by another process that imports it now; by this one, for ever
    time.sleep(0.05)
assert librosa.util.localmax(numpy.array([0, 1, 0])).tolist() == [False, True, False]
"""


def test_librosa_is_imported_under_a_lock() -> None:
    subprocess.run([sys.executable, "-c", LOAD_AND_WATCH_THE_LOCK], check=True, timeout=120)
