"""Settings of peers that batch whole requests."""

from typing import Final

MAX_REQUESTS: Final = 16
"""Largest batch: 32 rows a step, as many as a step batch of this program."""
WAIT_S: Final = 0.05
"""How long a batch waits for further requests."""
