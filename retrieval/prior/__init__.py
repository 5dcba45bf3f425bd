"""From ranked phrases to a motion prior."""
