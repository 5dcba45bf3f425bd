"""A dance on the user's own character: files with a skeleton, which come back with the dance in them."""
