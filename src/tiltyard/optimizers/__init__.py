"""Optimizers: DSPy teleprompters, and running them."""
