"""`choreo evaluate`: dances beside held-out mocap and beside controls, and the report of it."""
