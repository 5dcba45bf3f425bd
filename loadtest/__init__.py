"""Load tests over HTTP: scenarios, an open and a closed loop, exact figures from raw samples, and reports."""
