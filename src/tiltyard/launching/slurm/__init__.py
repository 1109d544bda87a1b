"""Sweeps on a Slurm cluster: ``hardware=slurm``."""
