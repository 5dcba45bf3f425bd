"""Requests, the stages that they pass, and the order they pass them in."""
