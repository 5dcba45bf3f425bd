"""The library: motion, music, text, models and diffusion; it knows nothing of servers."""
