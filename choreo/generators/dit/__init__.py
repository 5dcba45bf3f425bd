"""Diffusion transformers over windows of motion, conditioned in three ways."""
