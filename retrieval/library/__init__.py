"""Phrase libraries: what they contain, opening them, and dense search."""
