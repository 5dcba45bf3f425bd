"""Networks, one per file, found by name in the registry."""
