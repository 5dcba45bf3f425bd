"""Schedules, samplers, guidance and addressed noise."""
