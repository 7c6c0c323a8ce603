"""How a clip and a prompt become a conversation: the one rendering for training and for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ah_ray.tasks.task import Prompt

# The order of the media in the user's turn. MS-Swift writes them as tags, chat templates as parts.
MEDIA = ("video", "audio")


def chat_messages(prompt: Prompt, media: Sequence[str] = MEDIA) -> list[dict[str, Any]]:
    """The conversation up to the reply, in the form that chat templates of transformers read.

    Args:
        prompt: the wording.
        media: those of ``MEDIA`` that the model takes.
    """
    parts: list[dict[str, str]] = [{"type": kind} for kind in media]
    return [
        {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
        {"role": "user", "content": [*parts, {"type": "text", "text": prompt.user}]},
    ]


def swift_row(prompt: Prompt, reply: str, video: str, audio: str) -> dict[str, Any]:
    """The conversation with its reply as one row of an MS-Swift data set.

    Args:
        prompt: the wording.
        reply: what the model shall write.
        video: path of the clip's picture.
        audio: path of the clip's 16 kHz mono WAV.
    """
    tags = "".join(f"<{kind}>" for kind in MEDIA)
    return {
        "messages": [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": tags + prompt.user},
            {"role": "assistant", "content": reply},
        ],
        "videos": [video],
        "audios": [audio],
    }
