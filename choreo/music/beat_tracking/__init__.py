"""Beats and bars of a song."""
