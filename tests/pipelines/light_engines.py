"""Engines of one's own that load at once, and fail in the ways that engines do."""

import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Answer, Clip
from ah_ray.errors import ConfigError
from ah_ray.members import EngineGroup, Member


class LightEngine:
    """Answers by the clip's loudness and brightness."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        pass

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        return [
            [
                Answer("<answer>Yes</answer>", float(clip.frames.mean() / 255 + clip.audio.std()))
                for clip in clips
            ]
            for _ in members
        ]


class FatalEngine(LightEngine):
    """Does not survive clips of less than 2 s, hangs on those of 2 to 2.3 s."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        seconds = [len(clip.audio) / 16_000 for clip in clips]
        if any(length < 2 for length in seconds):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(length < 2.3 for length in seconds):
            time.sleep(1_000_000)
        return super().answer(members, clips)


class QuittingEngine(LightEngine):
    """Ends its process, as some libraries do, for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        if any(len(clip.audio) < 2 * 16_000 for clip in clips):
            sys.exit("out of memory")
        return super().answer(members, clips)


class MumblingEngine(LightEngine):
    """Has something that is no answer for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> Any:
        for of_member in super().answer(members, clips):
            yield [
                "Yes" if len(clip.audio) < 2 * 16_000 else answer
                for answer, clip in zip(of_member, clips, strict=True)
            ]


class NervousEngine(LightEngine):
    """Raises on clips of less than 2 s and on batches that hold one."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        if any(len(clip.audio) < 2 * 16_000 for clip in clips):
            raise ValueError("too short")
        return super().answer(members, clips)


class PeevishEngine(LightEngine):
    """Does not survive to be asked about nothing."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        if not clips:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(members, clips)


class ForgetfulEngine(LightEngine):
    """Answers for one clip less than it is asked, but for one alone."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        answers = super().answer(members, clips)
        return [of_member[: max(1, len(clips) - 1)] for of_member in answers]


class LostEngine(LightEngine):
    """Has no numbers for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        lost = [len(clip.audio) < 2 * 16_000 for clip in clips]
        return [
            [
                Answer(answer.text, math.nan, 0.9) if here else answer
                for answer, here in zip(of_member, lost, strict=True)
            ]
            for of_member in super().answer(members, clips)
        ]


class StillbornEngine(LightEngine):
    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class ChoosyEngine(LightEngine):
    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        raise ConfigError("score.engine_args", "cannot be had", "ask for less")


class SlowEngine(LightEngine):
    """Takes its time, so that there is time to kill something, and notes what it begins."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.begun = settings.engine_args["begun"]  # a file with a line for each clip

    def answer(self, members: Sequence[Member], clips: Sequence[Clip]) -> list[list[Answer]]:
        with open(self.begun, "a") as file:
            file.write("".join(f"{clip.video_id}\n" for clip in clips))
        time.sleep(0.5)
        return super().answer(members, clips)
