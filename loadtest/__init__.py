"""Load tests over HTTP: scenarios, open and closed loops, figures computed from raw samples, and reports."""
