"""What a reply is worth in reinforcement learning."""

from __future__ import annotations

from ah_ray.tasks import Task

RIGHT, READABLE, UNREADABLE = 1.0, 0.1, 0.0


def answer_reward(task: Task, reply: str, label: int) -> float:
    """The reward of a reply: the task's own parser says what it states.

    A reply that states the wrong answer in the right form is worth a little, so that the form is
    found before the answer; one that scoring could not use is worth nothing.
    """
    stated = task.parse(reply)
    if stated is None:
        return UNREADABLE
    return RIGHT if stated == label else READABLE
