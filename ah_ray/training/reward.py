"""What a reply is worth in reinforcement learning."""

from __future__ import annotations

from collections.abc import Collection

from ah_ray.tasks.answers import Answer

RIGHT, READABLE, UNREADABLE = 1.0, 0.1, 0.0


def answer_reward(answer: Answer, reply: str, labels: Collection[str]) -> float:
    """The reward of a reply: the task's own parser says what it states.

    A reply that states the wrong answer in the right form is worth a little, so that the form is
    found before the answer; one that scoring could not use is worth nothing.
    """
    stated = answer.read(reply)
    if stated is None:
        return UNREADABLE
    return RIGHT if stated.labels == frozenset(labels) else READABLE
