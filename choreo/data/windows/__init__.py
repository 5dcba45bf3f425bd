"""Training windows and their captions."""
