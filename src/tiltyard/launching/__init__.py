"""Launching: one Hydra job, and sweeps of many."""
