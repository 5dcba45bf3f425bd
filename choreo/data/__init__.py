"""Motion and music data sets."""
