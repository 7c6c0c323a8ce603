"""Planned batches as blocks of Ray Data, made as decoders need them.

A block takes the driver a millisecond and some kilobytes, and a large archive has millions of
batches. So the plan goes to Ray in slices; one task at a time takes a slice apart, and none while
enough batches of the last one wait for a decoder.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray.data
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    BackpressurePolicy,
)

from ah_ray.pipelines.batches import one_by_one

#: Batches of a slice.
SLICE = 1000
#: While so many batches wait for a decoder, no further slice is taken apart.
AHEAD = 500


def feed(plan: pa.Table) -> ray.data.Dataset:
    """The batches of a plan (``plan_batches``) in its order; each is a block of one row.

    What later steps return becomes blocks of one row, too.
    """
    slices = [plan.slice(first, SLICE) for first in range(0, len(plan), SLICE)]
    blocks = ray.data.from_blocks(slices)
    context = blocks.context  # its own, and that of what follows from it
    context.target_max_block_size = 1  # byte
    # A task would wait after two blocks until the driver takes one, which it does each time that it
    # looks at its tasks: no cluster would get more than ten batches a second.
    context._max_num_blocks_in_streaming_gen_buffer = SLICE
    policies = [*ENABLED_BACKPRESSURE_POLICIES, _EnoughAhead]
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, policies)
    return blocks.map_batches(
        one_by_one,
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=0,  # decoders and engines need them all
        concurrency=1,
    )


class _EnoughAhead(BackpressurePolicy):  # type: ignore[misc]
    """Ray Data itself looks at the bytes that wait; a planned batch has hardly any."""

    def can_add_input(self, op: Any) -> bool:
        """Whether a step may begin one more task."""
        is_feed = op.name == f"MapBatches({one_by_one.__name__})"
        return not is_feed or len(self._topology[op].output_queue) < AHEAD
