"""Sweeps on a Ray cluster: ``hardware=ray``."""
