"""How peers that batch whole requests are set."""

from typing import Final

MAX_REQUESTS: Final = 16
"""Of one batch: 32 rows a step, as many as a wave of ours has."""
WAIT_S: Final = 0.05
"""For a batch to fill up."""
