"""Composite generation: tokens of key poses by a language model of motion, and diffusion between them."""
