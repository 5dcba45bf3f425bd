"""Step batches: which rows share a call, and how calls reach an engine."""
