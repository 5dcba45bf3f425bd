"""The stages themselves, with their caches and watchers."""
