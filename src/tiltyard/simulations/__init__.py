"""Simulations: what a compiled program lives in after its evaluation."""
