"""Engines of one's own that load at once, and fail in the ways that engines do."""

import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from ah_ray.captions.filters import Caption
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Reply
from ah_ray.ensemble import EngineGroup
from ah_ray.errors import ConfigError
from ah_ray.members import Member
from ah_ray.tasks.answers import SLOT


class LightEngine:
    """Answers by the clip's loudness and brightness; who reads others adds what was read."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        pass

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        return [[light_reply(member, item) for item in items] for member in members]


def light_reply(member: Member, item: Item) -> Reply:
    """Of options the first, however likely it is, else what is seen and heard in a word."""
    light = item.frames.mean() / 255 if item.frames.size else 0.0  # who only reads gets neither
    loud = item.audio.std() if item.audio.size else 0.0
    chance = float(light + loud) / 2
    answer = member.card.question.answer
    texts = [text for _, text in sorted(item.texts.items())]
    if not answer.options:
        return Reply(answer.reply.replace(SLOT, ", ".join([f"light {1e6 * chance:.0f}", *texts])))
    first, *others = answer.options
    chances = {first: chance, **dict.fromkeys(others, (1 - chance) / len(others))}
    read = "".join(f" for {text}" for text in texts)
    return Reply(answer.reply.replace(SLOT, first) + read, chances)


class FatalEngine(LightEngine):
    """Does not survive clips of less than 2 s, hangs on those of 2 to 2.3 s."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        seconds = [len(item.audio) / 16_000 for item in items]
        if any(length < 2 for length in seconds):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(length < 2.3 for length in seconds):
            time.sleep(1_000_000)
        return super().answer(members, items)


class QuittingEngine(LightEngine):
    """Ends its process, as some libraries do, for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        if any(len(item.audio) < 2 * 16_000 for item in items):
            sys.exit("out of memory")
        return super().answer(members, items)


class MumblingEngine(LightEngine):
    """Has something that is no answer for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> Any:
        for of_member in super().answer(members, items):
            yield [
                "Yes" if len(item.audio) < 2 * 16_000 else reply
                for reply, item in zip(of_member, items, strict=True)
            ]


class NervousEngine(LightEngine):
    """Raises on clips of which it hears less than 2 s, and on batches that hold one."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        if any(0 < len(item.audio) < 2 * 16_000 for item in items):
            raise ValueError("too short")
        return super().answer(members, items)


class PeevishEngine(LightEngine):
    """Does not survive to be asked about nothing."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        if not items:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(members, items)


class ForgetfulEngine(LightEngine):
    """Answers for one clip less than it is asked, but for one alone."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        replies = super().answer(members, items)
        return [of_member[: max(1, len(items) - 1)] for of_member in replies]


class LostEngine(LightEngine):
    """Has no numbers for clips of less than 2 s."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        lost = [len(item.audio) < 2 * 16_000 for item in items]
        return [
            [
                reply._replace(chances=dict.fromkeys(reply.chances or (), math.nan))
                if here
                else reply
                for reply, here in zip(of_member, lost, strict=True)
            ]
            for of_member in super().answer(members, items)
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

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        with open(self.begun, "a") as file:
            file.write("".join(f"{item.video_id}\n" for item in items))
        time.sleep(0.5)
        return super().answer(members, items)


class SociableEngine(LightEngine):
    """Loads when so many others load with it, and not alone."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        begun, together = settings.engine_args["begun"], settings.engine_args["together"]
        with open(begun, "a") as file:
            file.write(f"{os.getpid()}\n")
        for _ in range(300):
            with open(begun) as file:
                if len(file.readlines()) >= together:
                    return
            time.sleep(0.1)
        raise ConfigError(
            "score.max_actors", f"{together} engines never loaded together", "mend it"
        )


class CaptioningEngine(LightEngine):
    """Describes each clip with its light, as its member is called; nothing of a dark clip."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.begun = settings.engine_args.get("begun")  # a file with a line for each batch

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        if self.begun:
            with open(self.begun, "a") as file:
                file.write("batch\n")
        return [[described(member.name, item) for item in items] for member in members]


def described(name: str, item: Item) -> Reply:
    """``plain`` writes the same of all clips, ``mute`` nothing; others what they alone see."""
    light = f"{item.frames.mean():.6f}".replace(".", " ")
    texts = {"mute": " ", "plain": "A man smiles."}
    return Reply(texts.get(name, f"A man, seen by {name}, smiles in the light of {light}."))


def fragile(caption: Caption) -> str | None:
    """A filter that has a fault."""
    raise ValueError(f"{caption.captioner} as of today")


class GroupingEngine(LightEngine):
    """Groups the words that it reads by their first letters; of those with a z it says nothing."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        self.begun = settings.engine_args["begun"]  # a file with a line for each video

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        with open(self.begun, "a") as file:
            file.write("".join(f"{item.video_id}\n" for item in items))
        return [[grouped(item.texts["subtitle"]) for item in items] for _ in members]


def grouped(words: str) -> Reply:
    if "z" in words:
        return Reply("I am sorry.")
    lines: dict[str, list[str]] = {}
    for word in words.split(", "):
        lines.setdefault(word[0], []).append(word)
    return Reply("\n".join(f"- {', '.join(line)}" for line in lines.values()))


class JudgingEngine(GroupingEngine):
    """Scores what says the same as the reference 10, else 4; what mumbles it does not decide on."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        with open(self.begun, "a") as file:
            file.write("".join(f"{item.video_id}\n" for item in items))
        return [[judged(item.texts["subtitle"]) for item in items] for _ in members]


def judged(lines: str) -> Reply:
    reference, explanation = (line.partition(": ")[2] for line in lines.splitlines())
    if "mumbles" in explanation:
        return Reply("Between <score>4</score> and <score>7</score>.")
    return Reply(f"<score>{10 if explanation == reference else 4}</score>")


class ExplainingEngine(LightEngine):
    """Explains the label that it is told, but to a sad one in Chinese; reads a word it finds."""

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> list[list[Reply]]:
        return [[explained(member, item) for item in items] for member in members]


def explained(member: Member, item: Item) -> Reply:
    if member.name == "english":
        return Reply(f"{item.frames.mean():.4f}: she looks {item.texts['label']}.")
    if member.name == "chinese":
        label = {"happy": "happy", "sad": "angry"}[item.texts["label"]]
        return Reply(f"她{label}")
    text = item.texts[member.card.reads[0]]
    found = [option for option in member.card.question.answer.options if option in text]
    return Reply(", ".join(found) or "Nobody knows.")
