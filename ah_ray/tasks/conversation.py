"""How a clip and a prompt become a conversation: the one rendering for training and for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ah_ray.tasks.task import Prompt


def chat_messages(prompt: Prompt, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The conversation up to the reply, in the form that chat templates of transformers read.

    Args:
        prompt: the wording.
        kinds: of the media that the model gets, in order (``MediaConfig.kinds``).
    """
    parts: list[dict[str, str]] = [{"type": kind} for kind in kinds]
    return [
        {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
        {"role": "user", "content": [*parts, {"type": "text", "text": prompt.user}]},
    ]


def swift_row(
    prompt: Prompt,
    reply: str,
    video: str | None,
    audio: str | None,
    images: Sequence[str] = (),
) -> dict[str, Any]:
    """The conversation with its reply as one row of an MS-Swift data set.

    Args:
        prompt: the wording.
        reply: what the model shall write.
        video: path of the clip's picture; None for a model that gets no video.
        audio: path of the clip's 16 kHz mono WAV; None for a model that gets no sound.
        images: paths of the clip's images.
    """
    videos = [] if video is None else [video]
    audios = [] if audio is None else [audio]
    tags = "<video>" * len(videos) + "<image>" * len(images) + "<audio>" * len(audios)
    return {
        "messages": [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": tags + prompt.user},
            {"role": "assistant", "content": reply},
        ],
        "videos": videos,
        "audios": audios,
        **({"images": list(images)} if images else {}),
    }
