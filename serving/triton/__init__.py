"""The supervisor of a local Triton server."""
