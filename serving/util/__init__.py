"""Caches, threads and process ownership that every package of the server uses."""
