"""Readers and writers of motion files, and previews."""
