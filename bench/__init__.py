"""Performance comparisons, each a program of its own: `choreo bench NAME`."""
