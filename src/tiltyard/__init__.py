"""Tiltyard: a declarative batch runner that compares small-language-model programs.

Five axes are declared as Hydra configs (model, task, hardware, optimizer, simulation); one pipeline,
:func:`tiltyard.experiment.run`, executes each combination; MLflow records it.

    $ tiltyard model=lexical task=tatqa_tiny optimizer=bootstrap
"""

__version__ = "0.1.0"
