"""The second dancer of a couple from the first one."""
