"""One-off studies and negative results, with their findings in README.md. Nothing imports this package."""
