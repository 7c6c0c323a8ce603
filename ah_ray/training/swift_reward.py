"""MS-Swift loads this file (``--external_plugins``) for the reward of ``reward``."""

from __future__ import annotations

import os
from typing import Any

from swift.rewards import ORM, orms

from ah_ray.members import MemberCard
from ah_ray.training.reward import answer_reward
from ah_ray.training.swift import MEMBER_VARIABLE, REWARD


class AnswerReward(ORM):  # type: ignore[misc]
    """Compares replies with the column ``solution`` of the rows."""

    def __call__(self, completions: list[str], solution: list[list[str]], **_: Any) -> list[float]:
        """One reward per reply."""
        card = MemberCard.model_validate_json(os.environ[MEMBER_VARIABLE])
        return [
            answer_reward(card.question.answer, reply, expected)
            for reply, expected in zip(completions, solution, strict=True)
        ]


orms[REWARD] = AnswerReward
