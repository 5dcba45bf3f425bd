"""Motion that the program makes itself: the synthetic choreographer, and recordings paired with songs."""
