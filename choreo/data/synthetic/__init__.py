"""Synthetic motion: the choreographer, and recordings paired with songs."""
