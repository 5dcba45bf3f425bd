"""Genre, mood and instruments of a song."""
