"""Audio decoding, features and beats."""
