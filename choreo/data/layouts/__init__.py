"""Readers of motion data sets, one layout a file."""
