"""What MS-Swift trains on is what the engine sees: token ids, pixels and spectrograms."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ah_ray.engines.transformers_engine import encode, load_processor
from ah_ray.engines.wording import wording
from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.media.cut import cut
from ah_ray.media.decode import decode
from ah_ray.media.fragment import split_times
from ah_ray.media.probe import probe
from ah_ray.media.segment import Span, split
from ah_ray.members import Member, MemberCard
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import load_task, swift_row
from ah_ray.toy.archive import ArchiveSpec, write_archive
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.recipe import RecipeConfig
from ah_ray.training.rows import media_of
from ah_ray.training.swift import PLUGINS, Node, Paths, SwiftJob, environment

MEDIA = MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192)
UNHEARD = MEDIA.model_copy(update={"audio": "none"})
RULE = SegmentationConfig(clip_s=4.0, min_tail_s=1.5)

# What somebody's shell may hold and MS-Swift or Qwen's utilities would heed.
STRANGE = {
    **{"USE_AUDIO_IN_VIDEO": "1", "SAMPLING_RATE": "8000", "FPS": "7", "FPS_MAX_FRAMES": "2"},
    **{"VIDEO_MAX_PIXELS": "2048", "VIDEO_TOTAL_PIXELS": "2048", "MAX_PIXELS": "2048"},
}

# Run in a process of its own, with the environment of a training, as `swift sft` does.
ENCODE_WITH_SWIFT = """
import json, sys, importlib.util
import torch
from swift.model import get_processor
from swift.template import get_template

spec = importlib.util.spec_from_file_location("plugin", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
processor = get_processor(sys.argv[2], model_type="qwen3_omni_moe", use_hf=True)
template = get_template(processor, template_type="qwen3_omni", max_length=4096)
template.set_mode("train")
rows = [json.loads(line) for line in open(sys.argv[3])]
torch.save([dict(template.encode(row)) for row in rows], sys.argv[4])
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("archive") / "archive"
    spec = ArchiveSpec(1, 1, 1, questions=1, max_seconds=10)
    write_archive(root, spec)
    return sorted(root.rglob("*.mp4"))


def test_training_and_scoring_see_the_same(
    checkpoint: Path, sources: list[Path], tmp_path: Path
) -> None:
    task = load_task("cue_conflict")
    rows, clips, labels, asked = [], [], [], []
    for number, source in enumerate(sources):
        info = probe(str(source))
        spans = {
            f"{number}-{i}": span for i, span in enumerate(split(Span(0, info.duration_s), RULE))
        }
        assert not cut(str(source), info, spans, str(tmp_path)).failed
        for clip_id, span in spans.items():
            path = str(tmp_path / f"{clip_id}.mp4")
            # The picture of the same file; the sound that scoring takes from the source.
            ((_, file),) = decode(path, [Span(0, span.duration_s)], MEDIA)
            ((_, virtual),) = decode(str(source), [span], MEDIA)
            assert not isinstance(file, ItemError)
            assert not isinstance(virtual, ItemError)
            files = {"media_uri": path, "audio_uri": str(tmp_path / f"{clip_id}.wav")}
            times = {"source_uri": str(source), "start_s": span.start_s, "end_s": span.end_s}
            label = len(rows) // 3 % 2
            prompt = ("short", "detailed")[len(rows) // 6 % 2]
            for row, clip, media in (
                (files, replace(file, audio=virtual.audio), MEDIA),
                (times | dict.fromkeys(files), virtual, MEDIA),
                (files, file, UNHEARD),
            ):
                labels.append(label)
                asked.append((prompt, media.audio))
                reply = task.reply(label)
                rows.append(swift_row(task.prompts[prompt], reply, *media_of(row, media)))
                clips.append(clip)
    assert len(clips) >= 18

    model = ModelConfig(path=str(checkpoint), dtype="float32")
    members = {
        (prompt, media.audio): Member(
            str(checkpoint),
            MemberCard(
                name="m", weights="full", task=task.name, prompt=prompt, model=model, media=media,
                segmentation=RULE,
            ),
        )
        for prompt in ("short", "detailed")
        for media in (MEDIA, UNHEARD)
    }  # fmt: skip
    processor = load_processor(str(checkpoint))

    job = SwiftJob("m", model, RecipeConfig(full={}, learning_rate=1), MEDIA, "", "")
    paths = Paths("", "", None, "", "", None)
    dataset, encoded = tmp_path / "rows.jsonl", tmp_path / "encoded.pt"
    dataset.write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run(
        [sys.executable, "-c", ENCODE_WITH_SWIFT, PLUGINS[0], checkpoint, dataset, encoded],
        env={**os.environ, **STRANGE, **environment(job, Node(), paths)},
        check=True,
    )
    trained = torch.load(encoded, weights_only=False)

    for row, theirs, clip, label, how in zip(rows, trained, clips, labels, asked, strict=True):
        ours = encode(processor, wording(processor, members[how]), [clip])
        prompt_ids = ours["input_ids"][0].tolist()
        reply = task.reply(label) + "<|im_end|>"
        expected = prompt_ids + processor.tokenizer(reply, add_special_tokens=False).input_ids
        # MS-Swift ends the turn with a newline too, which the engine never gets to.
        assert theirs["input_ids"][: len(expected)] == expected
        assert len(theirs["input_ids"]) <= len(expected) + 1
        trained_on = [token for token in theirs["labels"] if token != -100]
        assert processor.tokenizer.decode(trained_on).startswith(task.reply(label))
        torch.testing.assert_close(
            theirs["pixel_values_videos"], ours["pixel_values_videos"], rtol=0, atol=0
        )
        assert theirs["video_grid_thw"].tolist() == ours["video_grid_thw"].tolist()
        if not row["audios"]:
            assert "input_features" not in theirs
            assert "input_features" not in ours
            continue
        # A file's sound went through another version of ffmpeg's resampler: equal but for rounding
        # at the edges.
        virtual = split_times(row["audios"][0])[1] is not None
        assert theirs["input_features"].shape == ours["input_features"].shape
        difference = (theirs["input_features"] - ours["input_features"]).abs()
        assert difference.mean() < (1e-6 if virtual else 0.01)
        np.testing.assert_allclose(
            theirs["video_second_per_grid"], ours["video_second_per_grid"], rtol=1e-6
        )
