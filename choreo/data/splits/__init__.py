"""Which recordings are trained on and which are held out, and what both have in common."""
