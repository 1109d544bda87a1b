"""Asks every node of a Ray cluster, before a sweep's first job, whether it has what the jobs need.

>>> check_nodes([node["NodeID"] for node in ray.nodes()], needs, environment={}, runtime_env=None)
Traceback (most recent call last):
...
tiltyard.errors.InputError: node gpu7 (10.0.0.7): it does not see the sweep's folder /tmp/outputs/…; start …
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiltyard.errors import InputError
from tiltyard.launching.node_check import NodeNeeds
from tiltyard.launching.ray.remote_slot import why_ray_failed

CHECK_SECONDS = 120.0
"""How long the nodes may take to answer, all together; installing a runtime environment takes long."""


def check_nodes(
    nodes: Iterable[str],
    needs: NodeNeeds,
    environment: Mapping[str, str],
    runtime_env: Mapping[str, Any] | None,
) -> None:
    """Let each node look for what jobs need.

    Args:
        nodes: The ids of the nodes that may get jobs.
        needs: What they need.
        environment: The variables that jobs get from here.
        runtime_env: Ray's runtime environment of the jobs.

    Raises:
        InputError: What a node lacks, or that it does not answer; of several nodes, the first one's.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(_probe())
    asked = {}
    for node in nodes:
        probe = task.options(
            num_cpus=0,  # it does not wait for other jobs
            max_retries=0,
            runtime_env=runtime_env,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        asked[probe.remote(pickle.dumps(needs), needs.tiltyard, dict(environment))] = node
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=CHECK_SECONDS)
    lacking: list[InputError] = []
    for reference in answered:
        try:
            found: tuple[str, str] | None = ray.get(reference)
        except RayError as error:
            found = (why_ray_failed(error), "look into Ray's logs there")
        if found is not None:
            lacking.append(InputError(f"{_name(asked[reference])}: {found[0]}", found[1]))
    for reference in silent:
        ray.cancel(reference, force=True)
        lacking.append(
            InputError(
                f"{_name(asked[reference])}: it has not answered for {CHECK_SECONDS:.0f} s",
                "look at it with `ray status`, or take it out of the cluster",
            )
        )
    if lacking:
        first, others = lacking[0], len(lacking) - 1
        more = f" (and {others} more of {len(asked)} nodes lack something)" if others else ""
        raise InputError(f"{first.what}{more}", first.remedy)


def _probe() -> Callable[[bytes, str, dict[str, str]], tuple[str, str] | None]:
    """The question, as a function that travels whole: a node without Tiltyard can say that it has none."""

    def probe(needs: bytes, wanted: str, environment: dict[str, str]) -> tuple[str, str] | None:
        import os
        import pickle

        os.environ.update(environment)
        remedy = f"install tiltyard=={wanted} there, in the environment that runs Ray"
        try:
            import tiltyard
        except ImportError as error:
            return f"Ray's Python cannot import Tiltyard ({error})", remedy
        if tiltyard.__version__ != wanted:
            return f"it has Tiltyard {tiltyard.__version__}, and the sweep's machine has {wanted}", remedy
        lacks = pickle.loads(needs).missing()
        return None if lacks is None else (lacks.what, lacks.remedy)

    return probe


def _name(node_id: str) -> str:
    import ray

    [node] = [node for node in ray.nodes() if node["NodeID"] == node_id]
    return f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
