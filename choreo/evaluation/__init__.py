"""Metrics of dances, and the scorecard that computes those that apply."""
