"""Data sets of motion and music: clips, layouts, splits, synthetic dances and training windows."""
