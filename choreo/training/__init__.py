"""Losses, trainer and recipes."""
