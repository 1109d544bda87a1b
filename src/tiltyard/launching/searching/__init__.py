"""Searches over ranges of options: ``hydra/sweeper=optuna``."""
