"""What evaluates graphs: in this process, or on Triton servers."""
