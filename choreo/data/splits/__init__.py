"""Splits into training and held-out recordings, and the search for what both share."""
