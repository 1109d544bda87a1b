"""The function that Hydra is given: light, since Hydra wants it before it knows whether anything will run."""

from omegaconf import DictConfig

from tiltyard.resolvers import register_resolvers

register_resolvers()  # on import, so that a worker process that unpickles the function knows them too


def job(cfg: DictConfig) -> None:
    """Run one job; see :func:`tiltyard.launching.job.run_job`."""
    from tiltyard.launching.job import run_job

    run_job(cfg)
