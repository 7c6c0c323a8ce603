"""The transformers engine: Qwen3-Omni's thinker, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from ah_ray import storage
from ah_ray.checkpoints import local_checkpoint
from ah_ray.config import ModelConfig, ScoreConfig
from ah_ray.engines.engine import Answer
from ah_ray.media.decode import DecodedClip
from ah_ray.media.frames import AUDIO_HZ
from ah_ray.members import EngineGroup, Member
from ah_ray.tasks import chat_messages, load_task


class TransformersEngine:
    """One checkpoint in memory, with the adapters of its members."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        """Load the checkpoint and adapters.

        Args:
            group: the checkpoint and its members.
            settings: ``gpus_per_actor`` decides the device, ``cpus_per_actor`` the threads.
        """
        self.device = "cuda" if settings.gpus_per_actor else "cpu"
        if self.device == "cpu":
            torch.set_num_threads(max(1, round(settings.cpus_per_actor)))
        self.max_new_tokens = settings.max_new_tokens
        path = str(local_checkpoint(group.checkpoint))
        self.processor = load_processor(path)
        self.model = load_model(path, group.members[0].card.model).to(self.device).eval()
        # Adapters are put into the model's own layers, so the thinker below answers with them.
        self.adapters: Any = None
        self.thinker = getattr(self.model, "thinker", self.model)
        for member in group.members:
            if member.card.weights == "adapter":
                self._add_adapter(member)

    def answer(self, member: Member, clips: Sequence[DecodedClip]) -> list[Answer]:
        """Greedy answers; see ``Engine``."""
        if not clips:
            return []
        if self.adapters is not None:
            self.adapters.set_adapter(member.name)
        inputs = encode(self.processor, member, clips).to(self.device, self.model.dtype)
        with torch.inference_mode():
            output = self.thinker.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        written = output.sequences[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(written, skip_special_tokens=True)
        return [
            Answer(text, chance)
            for text, chance in zip(texts, self._p_yes(member, written, output.logits), strict=True)
        ]

    def _add_adapter(self, member: Member) -> None:
        from peft import PeftModel

        folder = str(storage.localize(member.uri))
        if self.adapters is None:
            self.adapters = PeftModel.from_pretrained(self.model, folder, member.name).eval()
        else:
            self.adapters.load_adapter(folder, member.name)

    def _p_yes(self, member: Member, written: Any, logits: Sequence[Any]) -> list[float | None]:
        """P(positive) at the token where the two replies part; None if it is not reached."""
        position, yes, no, prefix = reply_tokens(self.processor.tokenizer, member)
        if position >= len(logits):
            return [None] * len(written)
        chances = torch.sigmoid((logits[position][:, yes] - logits[position][:, no]).double())
        reached = (written[:, :position] == torch.tensor(prefix, device=written.device)).all(dim=1)
        return [
            float(chance) if there else None for chance, there in zip(chances, reached, strict=True)
        ]


def load_processor(path: str) -> Any:
    """The processor of a checkpoint, padding on the left as generation needs it."""
    processor = transformers.AutoProcessor.from_pretrained(path)
    processor.tokenizer.padding_side = "left"
    return processor


def load_model(path: str, settings: ModelConfig) -> Any:
    """The model of a checkpoint, without its speech output if it has one.

    Args:
        path: a local checkpoint folder.
        settings: its number format and attention kernel are used.
    """
    config = transformers.AutoConfig.from_pretrained(path)
    if getattr(config, "enable_audio_output", False):
        config.enable_audio_output = False
    model = getattr(transformers, config.architectures[0]).from_pretrained(
        path,
        config=config,
        dtype=getattr(torch, settings.dtype),
        attn_implementation=settings.attention,
    )
    thinker = getattr(model, "thinker", model)
    thinker.generation_config = model.generation_config
    _whole_positions(thinker)
    return model


def encode(processor: Any, member: Member, clips: Sequence[DecodedClip]) -> Any:
    """The model's inputs for a batch of clips: token ids, pixels and spectrograms.

    Frames come at their final size and rate, so nothing is resized or sampled here.
    """
    prompt = load_task(member.card.task).prompt(member.card.prompt, member.uri)
    text = processor.apply_chat_template(
        chat_messages(prompt), tokenize=False, add_generation_prompt=True
    )
    inputs = processor(
        text=[text] * len(clips),
        videos=[torch.from_numpy(clip.frames).permute(0, 3, 1, 2) for clip in clips],
        audio=[clip.audio for clip in clips],
        sampling_rate=AUDIO_HZ,
        do_resize=False,
        do_sample_frames=False,
        padding=True,
        return_tensors="pt",
    )
    # The processor knows one rate for all videos; each clip has its own.
    seconds = [processor.video_processor.temporal_patch_size / clip.fps for clip in clips]
    inputs["video_second_per_grid"] = torch.tensor(seconds)
    return inputs


def reply_tokens(tokenizer: Any, member: Member) -> tuple[int, int, int, list[int]]:
    """Where and how the two replies differ in tokens.

    Returns:
        The first position at which they do, the positive and the negative reply's token there,
        and the tokens before it.
    """
    task = load_task(member.card.task)
    yes, no = (tokenizer(task.reply(label), add_special_tokens=False).input_ids for label in (1, 0))
    position = next(index for index, (a, b) in enumerate(zip(yes, no, strict=False)) if a != b)
    return position, yes[position], no[position], yes[:position]


def _whole_positions(thinker: Any) -> None:
    """Cut temporal positions to whole numbers, as MS-Swift trains and vLLM serves.

    transformers alone keeps fractions of a position, which changes answers.
    """
    original = thinker.get_rope_index

    def get_rope_index(*args: Any, **kwargs: Any) -> Any:
        positions, deltas = original(*args, **kwargs)
        return positions.floor(), deltas

    thinker.get_rope_index = get_rope_index
