"""Readers of motion data sets, one layout per module."""
