"""The Ray Serve application, and the stack on one machine."""
