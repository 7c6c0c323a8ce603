"""An engine of one's own, named in a run config: it does not survive clips without sound."""

import os
import signal
from collections.abc import Sequence

from ah_ray.engines import Answer
from ah_ray.engines.transformers_engine import TransformersEngine
from ah_ray.media.decode import DecodedClip
from ah_ray.members import Member


class DeadlyEngine(TransformersEngine):
    def answer(self, members: Sequence[Member], clips: Sequence[DecodedClip]) -> list[list[Answer]]:
        if any(not clip.audio.any() for clip in clips):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(members, clips)
