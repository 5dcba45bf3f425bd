"""Benchmarks of the product, each a program of its own: `choreo bench NAME`."""
