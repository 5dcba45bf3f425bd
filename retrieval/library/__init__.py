"""A phrase library: phrases, their table and motion, and the space they are searched in."""
