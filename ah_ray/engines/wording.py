"""A member's question and its replies in tokens: the same for every engine, as in training.

And what a model's scores for these tokens say about the replies: pure functions over numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ah_ray.errors import ConfigError
from ah_ray.members import Member
from ah_ray.tasks import SUBTITLE, chat_messages
from ah_ray.tasks.answers import SLOT, Reading

Tokens = tuple[int, ...]

# Angle quotation marks, which look like brackets and are none.
_OTHER_BRACKETS = str.maketrans("<>", "\u2039\u203a")

#: Log-probabilities by token, after each context: what a reply has written beyond ``prefix``.
Scores = Mapping[Tokens, Mapping[int, float]]


class Wording(NamedTuple):
    """A member's conversation in tokens.

    Attributes:
        text: the conversation up to the reply, with one placeholder per medium.
        ids: its tokens.
        kinds: of the media in it, in order.
        prefix: the tokens that all replies begin with.
        labels: the options of the answer; none where it is not one of several.
        options: how each reply goes on until its word is complete and no other reply goes on in
            the same way; in order of ``labels``.
    """

    text: str
    ids: list[int]
    kinds: tuple[str, ...]
    prefix: list[int]
    labels: tuple[str, ...]
    options: tuple[Tokens, ...]

    @property
    def contexts(self) -> dict[Tokens, list[int]]:
        """What a reply may have written beyond ``prefix``, and the tokens to be weighed then."""
        found: dict[Tokens, list[int]] = {}
        for option in self.options:
            for length, token in enumerate(option):
                tokens = found.setdefault(option[:length], [])
                if token not in tokens:
                    tokens.append(token)
        return found

    @property
    def branches(self) -> list[Tokens]:
        """The contexts that no other one begins with, longest first.

        A model that reads one of them shows its scores for all that it begins with. Where replies
        part in one token there is one, and it is empty.
        """
        contexts = sorted(self.contexts, key=lambda context: (-len(context), context))
        return [
            context
            for index, context in enumerate(contexts)
            if not any(longer[: len(context)] == context for longer in contexts[:index])
        ]


def wording(processor: Any, member: Member, texts: Mapping[str, str] | None = None) -> Wording:
    """The tokens of a member's conversation.

    The replies are tokenised whole, as they are in training, and then compared: a tokenizer may
    join the last character before the answer with the answer, in one of the replies alone.

    Args:
        processor: of the member's checkpoint.
        member: its card has the question, and what the model gets of a clip.
        texts: what stands in its prompt of a clip, by name: what the members wrote that it reads,
            and the subtitle, in place of which there is nothing where it is missing. Without any
            the names stay.

    Raises:
        ConfigError: two options are the same to the tokenizer.
    """
    question, tokenizer = member.card.question, processor.tokenizer
    kinds = member.card.media.kinds
    known = {} if texts is None else {SUBTITLE: ""} | dict(texts)
    read = {name: text for name, text in known.items() if name in member.card.texts}
    user = filled(question.prompt.user, read, tokenizer)
    prompt = question.prompt.model_copy(update={"user": user})
    messages = chat_messages(prompt, kinds)
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def tokens(part: str) -> Tokens:
        return tuple(tokenizer(part, add_special_tokens=False).input_ids)

    labels, before = question.answer.options, question.answer.reply.partition(SLOT)[0]
    said = [question.answer.write(Reading(frozenset({label}))) for label in labels]
    # The end of the turn settles replies of which one begins with the other.
    replies = [tokens(reply + tokenizer.eos_token) for reply in said]
    for index, reply in enumerate(replies):
        if reply in replies[:index]:
            problem = f"the tokenizer takes {labels[replies.index(reply)]!r} for {labels[index]!r}"
            fix = "give both words of its language"
            raise ConfigError(f"{member.uri}: answer.options", problem, fix)
    ends = [
        _first_with(tokenizer, reply, before + word)
        for reply, word in zip(replies, labels, strict=True)
    ]
    prefix, options = part_replies(replies, ends) if replies else ((), ())
    return Wording(text, list(tokens(text)), kinds, list(prefix), labels, options)


def filled(prompt: str, texts: Mapping[str, str], tokenizer: Any) -> str:
    """A prompt with texts in the place of their names.

    What the tokenizer would take for the end of a turn, or for a medium, is left out of them. A
    subtitle comes from anywhere: it gets other brackets, so that no tag in it can end the prompt's
    own, or be one of MS-Swift's.
    """
    added = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    special = re.compile("|".join(map(re.escape, added)))

    def harmless(named: re.Match[str]) -> str:
        text = texts[named[1]]
        while (rest := special.sub("", text)) != text:  # what is left may join to another one
            text = rest
        return text.translate(_OTHER_BRACKETS) if named[1] == SUBTITLE else text

    # All at once: a text may have braces of its own.
    names = "|".join(map(re.escape, texts))
    return re.sub(rf"{{({names})}}", harmless, prompt) if texts else prompt


def part_replies(
    replies: Sequence[Tokens], ends: Sequence[int]
) -> tuple[Tokens, tuple[Tokens, ...]]:
    """What several replies begin with, and how each goes on until it is told from the others.

    Args:
        replies: the whole replies; none of them begins with another.
        ends: how many tokens of each are needed at least.
    """

    def shared(some: Tokens, other: Tokens) -> int:
        pairs = zip(some, other, strict=False)
        return next(
            (index for index, (a, b) in enumerate(pairs) if a != b), min(len(some), len(other))
        )

    apart = [
        [shared(reply, other) for n, other in enumerate(replies) if n != number]
        for number, reply in enumerate(replies)
    ]
    common = min(min(lengths) for lengths in apart)
    options = tuple(
        reply[common : max(end, max(lengths) + 1)]
        for reply, end, lengths in zip(replies, ends, apart, strict=True)
    )
    return replies[0][:common], options


def _first_with(tokenizer: Any, reply: Tokens, text: str) -> int:
    """How many tokens of a reply it takes until ``text`` is written; all if it never is so."""

    def written(count: int) -> str:
        said: str = tokenizer.decode(list(reply[:count]), clean_up_tokenization_spaces=False)
        return said

    return next((n for n in range(1, len(reply)) if written(n).startswith(text)), len(reply))


class Weighed(NamedTuple):
    """How likely a model is to give each reply.

    Attributes:
        chances: of the options, in their order; they sum to 1.
        mass: the probability of all options together, of replies that begin with ``prefix``.
    """

    chances: list[float]
    mass: float


def weigh(options: Sequence[Tokens], scores: Scores) -> Weighed:
    """The chances of the options: each is as likely as its tokens are, one after the other.

    Not a number if one of their scores is not finite.
    """
    steps = [
        [scores[option[:length]][token] for length, token in enumerate(option)]
        for option in options
    ]
    if not all(math.isfinite(score) for option in steps for score in option):
        return Weighed([math.nan] * len(options), math.nan)
    logs = [math.fsum(option) for option in steps]
    largest = max(logs)
    weights = [math.exp(log - largest) for log in logs]
    total = math.fsum(weights)
    mass = min(1.0, total * math.exp(largest))
    return Weighed([weight / total for weight in weights], mass)


def scores_of_reply(
    words: Wording, written: Sequence[int], steps: Sequence[Mapping[int, float]]
) -> Scores | None:
    """The scores that a model showed while it wrote a reply of its own.

    Args:
        words: the conversation.
        written: the tokens of the reply.
        steps: log-probabilities by token with which each of them was chosen.

    Returns:
        By context; None if there are no options, or it never came to what one of them needs.
    """
    if not words.options:
        return None
    start = len(words.prefix)
    if list(written[:start]) != words.prefix:
        return None
    scores = {tuple(written[start:place]): steps[place] for place in range(start, len(steps))}
    return scores if scores.keys() >= words.contexts.keys() else None
