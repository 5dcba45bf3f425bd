"""Motion phrases: library, index and priors."""
