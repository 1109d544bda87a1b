"""Runs a sweep's jobs on a Ray cluster: ``hardware=ray``.

>>> RayCluster(address="10.0.0.5:6379", gpus=1).work(assignments, ended)

Ray only finds places for actors; each actor is a :class:`tiltyard.launching.ray.slot.Slot`, which runs jobs
in a process of its own and sees how they end. Actors leave with the process that made them.
"""

import fnmatch
import importlib.util
import logging
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tiltyard.errors import InputError, JobError
from tiltyard.launching.assignment import Assignment
from tiltyard.launching.node_check import node_needs
from tiltyard.launching.ray.connection import connected
from tiltyard.launching.ray.probes import check_nodes
from tiltyard.launching.ray.remote_slot import RemoteSlot
from tiltyard.launching.ray.slot import Slot
from tiltyard.launching.stopping import stop_requests
from tiltyard.launching.workers import choose
from tiltyard.launching.workforce import Ended

logger = logging.getLogger(__name__)

SECONDS_WITHOUT_ROOM = 60.0
"""How long no node may have what a job reserves before the sweep gives up."""
_SECONDS_BETWEEN_LOOKS = 0.5

Environment = tuple[str, ...]
TAKEN_ALONG: Environment = ("TILTYARD_*", "MLFLOW_*", "HF_*", "*_API_KEY", "*_API_BASE")
"""Patterns of the environment variables that Tiltyard and what it talks to read."""


class RayCluster:
    """Slots on the nodes of a Ray cluster, each for one job at a time.

    Args:
        address: ``HOST:PORT`` of the cluster's head; ``auto`` takes ``$RAY_ADDRESS``, else the cluster that
            runs on this machine; ``local`` starts one on this machine that ends with the sweep. The sweep
            itself has to run on a machine of the cluster.
        workers: How many jobs run at the same time, at most; never more than the nodes have room for.
        cpus: CPU cores that Ray reserves for each job; torch gets as many threads.
        gpus: GPUs that Ray reserves for each job and shows to it: a whole number, or a fraction of one.
        memory_mb: Memory that Ray reserves for each job, in MB (10**6 bytes). Null reserves none.
        resources: Further resources of each job, as Ray's nodes were started with: ``{"a100": 1}``.
        environment: Patterns of the environment variables that jobs get from the sweep's machine; all others
            are those of the node. Values are never written down.
        runtime_env: Ray's runtime environment of the jobs, as in ``{"env_vars": {…}}``; Ray writes it down.

    Raises:
        InputError: Ray is not installed, or an option has an impossible value.
    """

    def __init__(
        self,
        *,
        address: Annotated[str, Field(min_length=1)] = "auto",
        workers: Annotated[int, Field(ge=1, le=1024)] = 1024,
        cpus: Annotated[int, Field(ge=1)] = 1,
        gpus: Annotated[float, Field(ge=0)] = 0,
        memory_mb: Annotated[int | None, Field(ge=1)] = None,
        resources: Mapping[str, Annotated[float, Field(gt=0)]] | None = None,
        environment: Environment = TAKEN_ALONG,
        runtime_env: dict[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise InputError("hydra/launcher=ray needs ray", "pip install 'tiltyard[ray]'")
        if gpus > 1 and gpus != int(gpus):
            raise InputError(f"hydra.launcher.gpus={gpus:g}", "give a whole number, or a fraction of one GPU")
        self._address = address
        self._workers = workers
        self._resources = dict(resources or {})
        self._options: dict[str, Any] = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "memory": None if memory_mb is None else memory_mb * 10**6,
            "resources": self._resources or None,
            "runtime_env": runtime_env,
        }
        self._patterns = tuple(environment)

    def work(self, assignments: Sequence[Assignment], ended: Ended) -> None:
        """Run all jobs; see :meth:`tiltyard.launching.workforce.Workforce.work`.

        Raises:
            JobError: No node of the cluster can run the jobs that are left.
        """
        _refuse_devices_settled_here(assignments)
        taken = {
            name: value
            for name, value in os.environ.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)
        }
        with node_needs(assignments) as needs, connected(self._address):
            rooms = self._rooms()
            if not rooms:
                raise InputError(
                    f"no node of the Ray cluster has {self._asked_for()} for a job",
                    "add one that has, or correct hydra.launcher.cpus, gpus, memory_mb or resources",
                )
            check_nodes(rooms, needs, taken, self._options["runtime_env"])
            count = min(self._workers, len(assignments), sum(rooms.values()))
            slots = [RemoteSlot(lambda: self._actor(taken), needs) for _ in range(count)]
            self._run(slots, list(assignments), ended)

    def _run(self, slots: list[RemoteSlot], waiting: list[Assignment], ended: Ended) -> None:
        import ray

        workers = len(slots)
        had_room = time.monotonic()
        with stop_requests() as asked:
            try:
                while True:
                    for slot in slots:
                        if asked.to_stop or not waiting:
                            if slot.job is None:
                                slot.dismiss()  # others may need the place
                        elif not slot.is_open:
                            slot.open()
                        elif slot.is_free:
                            elsewhere = {other.loaded for other in slots if other is not slot}
                            job = choose(waiting, slot.loaded, elsewhere)
                            slot.start(job, self._memory_share(slot.node, workers))
                    if not any(slot.is_open for slot in slots):
                        break
                    awaited = [slot.awaited for slot in slots if slot.awaited is not None]
                    news, _ = ray.wait(awaited, num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
                    for slot in [slot for slot in slots if slot.awaited in news]:
                        if slot.job is not None:
                            ended(*slot.finish())
                        elif lacks := slot.settle():
                            slots.remove(slot)
                            slot.dismiss()
                            _refuse_last(lacks, slots)
                    for slot in slots:
                        slot.look(asked)
                    if any(slot.job or slot.is_free for slot in slots) or self._rooms():
                        had_room = time.monotonic()
                    elif time.monotonic() - had_room > SECONDS_WITHOUT_ROOM:
                        raise JobError(
                            f"no node of the Ray cluster has had {self._asked_for()} "
                            f"for {SECONDS_WITHOUT_ROOM:.0f} s",
                            "add nodes, and start the sweep again: what has finished is kept",
                        )
            finally:
                for slot in slots:
                    slot.dismiss()
            if asked.to_stop:
                raise KeyboardInterrupt

    def _actor(self, environment: Mapping[str, str]) -> Any:
        import ray

        # Not restarted: a job that has died is the sweep's to report, and a new slot begins afresh.
        options = {**self._options, "max_concurrency": 2, "max_restarts": 0, "max_task_retries": 0}
        return ray.remote(Slot).options(**options).remote(environment)

    def _asked(self) -> dict[str, float]:
        """What a job reserves, as Ray names it."""
        of_ray = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        asked = {name: self._options[option] or 0 for name, option in of_ray.items()}
        return {name: amount for name, amount in (asked | self._resources).items() if amount}

    def _asked_for(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._asked().items())

    def _rooms(self) -> dict[str, int]:
        """How many jobs each node that lives could take at once, by its id; none without room."""
        import ray

        rooms = {
            node["NodeID"]: room(node["Resources"], self._asked()) for node in ray.nodes() if node["Alive"]
        }
        return {node: count for node, count in rooms.items() if count}

    def _memory_share(self, node: str, workers: int) -> float:
        """Which part of the memory a job on a node plans with: its part of a GPU, else of the node."""
        if gpus := self._options["num_gpus"]:
            return float(min(1.0, gpus))
        return 1 / min(self._rooms().get(node, 1), workers)


def room(resources: Mapping[str, float], asked: Mapping[str, float]) -> int:
    """How many jobs a node has room for.

    Args:
        resources: All that the node has, as Ray names it.
        asked: What a job reserves; not empty.
    """
    # Ray counts in parts of 10,000: a third of a GPU fits three times.
    return min(int(resources.get(name, 0) / amount + 1e-4) for name, amount in asked.items())


def _refuse_last(lacks: InputError, slots: Sequence[RemoteSlot]) -> None:
    """Go on without a slot while there are others."""
    if not slots:
        raise JobError(
            f"no node of the Ray cluster can run the jobs that are left: {lacks.what}", lacks.remedy
        )
    logger.warning("One job less at a time: a node of the Ray cluster cannot take it: %s", lacks)


def _refuse_devices_settled_here(assignments: Sequence[Assignment]) -> None:
    """``auto`` would be what the sweep's own machine has, in the fingerprints that the sweep looks for."""
    for assignment in assignments:
        if pickle.loads(assignment.config).hardware.get("device") == "auto":
            raise InputError(
                "hardware.device=auto is settled by the machine that looks, and nodes may differ",
                "use hardware=ray, with hardware.device=cuda where hydra.launcher.gpus asks for GPUs",
            )
