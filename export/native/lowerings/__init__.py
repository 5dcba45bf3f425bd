"""Lowerings of the networks of this program, one module each."""
