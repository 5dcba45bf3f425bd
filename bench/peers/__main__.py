"""Run one peer: `python -m bench.peers MODULE PORT [ARGUMENT]`."""

import contextlib
import importlib
import signal
import sys


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    module, port, *rest = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        importlib.import_module(f"bench.peers.{module}").serve(int(port), *rest)


if __name__ == "__main__":
    main()
