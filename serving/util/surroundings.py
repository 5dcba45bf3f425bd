"""What this program and its child processes must not take from the user's environment as it is: proxies and homes."""

import atexit
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from serving.util.ownership import owner_prefix
from serving.util.temporary import is_writable, safe_folder

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
CACHES: Final = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")
"""Where libraries keep what they compute once; without one of these they write into the home folder."""


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the environment of this process fit to be inherited. May be called again.

    Raises:
        InvalidInput: there is neither a home nor a temporary folder that can be written to.
    """
    bypass_proxies(environment)
    _keep_caches(environment)


def bypass_proxies(environment: MutableMapping[str, str]) -> None:
    """Let traffic on this machine go its direct way, also that of libraries and of child processes."""
    names = ("no_proxy", "NO_PROXY")  # libraries differ in which of the two they read first
    given = [host.strip() for name in names for host in environment.get(name, "").split(",")]
    hosts = list(dict.fromkeys(host for host in (*given, *LOOPBACK) if host))
    for name in names:
        environment[name] = "*" if "*" in hosts else ",".join(hosts)


def _keep_caches(environment: MutableMapping[str, str]) -> None:
    """Where the home folder is missing or cannot be written to, put the caches of libraries into a temporary folder."""
    home = Path(os.path.expanduser("~"))
    if all(name in environment for name in CACHES) or (home.is_absolute() and is_writable(home)):
        return
    folder = Path(tempfile.mkdtemp(prefix=owner_prefix(), dir=safe_folder()))
    atexit.register(_remove, os.getpid(), folder)
    for name in CACHES:
        environment.setdefault(name, str(folder))


def _remove(owner: int, folder: Path) -> None:
    if os.getpid() == owner:  # a forked child inherits exit handlers
        shutil.rmtree(folder, ignore_errors=True)
