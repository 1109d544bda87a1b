"""Telemetry: how long calls took, and what they used."""
