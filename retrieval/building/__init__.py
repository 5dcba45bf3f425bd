"""Building phrase libraries from recordings."""
