"""Indices of vectors: exact, inverted lists and graph, on the processor or a GPU, behind one interface."""
