"""What a data set consists of: lengths, motions, speeds, balance, terms, and what trimming would remove."""
