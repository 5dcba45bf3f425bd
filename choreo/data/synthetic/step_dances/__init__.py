"""Ballroom and Latin dances, generated from tables of their figures."""
