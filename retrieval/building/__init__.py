"""From recordings to a phrase library on disk."""
