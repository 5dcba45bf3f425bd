"""Catalogs: many requests from a file, danced once each, whatever happens in between."""
