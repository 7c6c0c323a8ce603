"""What training runs on and with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ah_ray.yaml_objects import Count, Frozen, Positive


class TrainConfig(Frozen):
    """Resources of training.

    Attributes:
        splits: the splits that are trained on.
        validation_splits: the splits whose participants choose the checkpoint, but for those that
            are trained on. Without any such video the last checkpoint becomes the member.
        nodes: machines that share the training of one member.
        processes_per_node: ranks on each (the GPUs of a node; 1 on a CPU).
        cpus_per_node: CPUs that a node's training reserves.
        loaders_per_process: processes that read and decode clips for each rank.
        use_gpu: whether each rank takes a GPU.
        parallel_members: how many members train at the same time.
        max_failures: how often a failed training is started again, from its newest checkpoint.
        scratch: folder on each node for what a training needs on disk; null for the system's
            temporary folder. A run in object storage puts one checkpoint at a time there.
    """

    splits: tuple[str, ...] = ("train",)
    validation_splits: tuple[str, ...] = ("val",)
    nodes: Count = 1
    processes_per_node: Count = 1
    cpus_per_node: Positive = 1.0
    loaders_per_process: Count = 2
    use_gpu: bool = False
    parallel_members: Count = 1
    max_failures: Annotated[int, Field(ge=0)] = 1
    scratch: str | None = None

    @property
    def processes(self) -> int:
        """How many train a member together."""
        return self.nodes * self.processes_per_node
