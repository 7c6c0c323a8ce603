"""Training asks in the tokens in which scoring will ask."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from ah_ray.engines.wording import wording
from ah_ray.members import Member, MemberCard
from ah_ray.models.architecture import find_architecture
from ah_ray.tasks import SUBTITLE


def require_first_row(rows: str, template: Any, model: str, card: str) -> None:
    """``require_same_tokens`` of the first row of a data set.

    Args:
        rows: the file, on a disk.
        template: MS-Swift's, which makes tokens of rows.
        model: the checkpoint that is trained.
        card: the member's (``MemberCard``), as JSON.

    Raises:
        ValueError: with the first token that differs.
    """
    with Path(rows).open("rb") as file:
        row = json.loads(file.readline())
    member = Member(model, MemberCard.model_validate_json(card))
    trained = template.encode(row)["input_ids"]
    architecture = find_architecture(member.card.model.architecture)
    require_same_tokens(trained, row, architecture.load_processor(member.uri), member)


def require_same_tokens(
    trained: Sequence[int], row: Mapping[str, Any], processor: Any, member: Member
) -> None:
    """Fail unless a row of a data set is, in tokens, the member's conversation and the reply.

    Args:
        trained: the row's tokens as MS-Swift makes them; it puts a newline after the last turn.
        row: in MS-Swift's format; without a reply (algorithm grpo) the conversation is compared.
        processor: that scoring will load.
        member: says what scoring will ask.

    Raises:
        ValueError: with the first token that differs.
    """
    words = wording(processor, member, {SUBTITLE: row.get(SUBTITLE, "")})
    tokenizer = processor.tokenizer
    expected = list(words.ids)
    if (last := row["messages"][-1])["role"] == "assistant":
        reply = last["content"] + tokenizer.eos_token
        expected += tokenizer(reply, add_special_tokens=False).input_ids
    media: dict[int, int] = {}
    for kind in words.kinds:
        placeholder = tokenizer.convert_tokens_to_ids(getattr(processor, f"{kind}_token"))
        # Some processors write what stands around a medium, too.
        written = {placeholder, *getattr(processor, f"{kind}_token_ids", ())} - {None}
        media |= dict.fromkeys(written, placeholder)
    given, expected = (_one_per_medium(tokens, media) for tokens in (trained, expected))
    same = len(expected)
    if given[:same] == expected and len(given) <= same + 1:
        return
    position, pair = next(
        (n, pair) for n, pair in enumerate(zip_longest(given, expected)) if pair[0] != pair[1]
    )
    theirs, ours = ("nothing" if t is None else f"{tokenizer.decode([t])!r} ({t})" for t in pair)
    raise ValueError(
        f"training and scoring would ask in different words: token {position} of row 0 is {theirs} "
        f"in MS-Swift and {ours} in scoring, after {tokenizer.decode(expected[:position][-20:])!r}"
    )


def _one_per_medium(tokens: Sequence[int], media: Mapping[int, int]) -> list[int]:
    """The tokens with one placeholder for each medium, of which a model reads hundreds."""
    runs = ((token, list(run)) for token, run in groupby(tokens, lambda one: media.get(one, one)))
    placeholders = set(media.values())
    return [t for token, run in runs for t in ([token] if token in placeholders else run)]
