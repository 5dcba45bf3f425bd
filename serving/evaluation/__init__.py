"""`choreo evaluate`: generated dances compared with held-out mocap and with controls, and the report."""
