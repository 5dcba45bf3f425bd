"""Motion and music data sets: clips, windows, captions and the loader of the data pack."""
