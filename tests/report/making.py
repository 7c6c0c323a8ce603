"""Runs to report on, written as tables: whole in all that a report reads, and made in a moment."""

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import pyarrow as pa

from ah_ray import schemas, storage, tables
from ah_ray.evaluation.config import EvaluateConfig
from ah_ray.lineage import left_out_made_from
from ah_ray.media.config import LimitsConfig
from ah_ray.media.segment import STILL
from ah_ray.pipelines.evaluate import evaluate
from ah_ray.pipelines.reduce import make_verdicts
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import Cost
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.tasks.policies import ReduceConfig

CLIP_S = 2.5
HOSTILE = "<script>alert(1)</script>.mp4"  # what a video may be called
HOSTILE_WORD = "<img src=x onerror=alert(1)>"  # what a member may say
DRAWS = EvaluateConfig(draws=1000)  # for speed
WORDS = ("happy", "proud", "nervous", "tired", "astonished", "gloomy", "excited", HOSTILE_WORD)


def make_run(
    folder: Path,
    names: Sequence[str],
    task: str = "ambivalence_hesitancy",
    members: Sequence[str] = ("v1", "v2", "v3"),
    writers: Sequence[str] = (),
    labelled: bool = True,
    lost: Sequence[str] = (),
) -> RunDirectory:
    """A scored run.

    Args:
        folder: where; its videos are in ``archive`` in it, should anybody look.
        names: of the videos.
        task: what members are asked.
        members: that vote.
        writers: members whose answers are text.
        labelled: whether labels are known; such a run is evaluated.
        lost: of ``names`` those that could not be prepared.
    """
    draw = random.Random(0)
    run = RunDirectory.at(str(folder))
    judgement = load_task(task).judged(ReduceConfig())
    manifest = {"rule": {"by": "hand"}, "limits": LimitsConfig().model_dump(), "splits": ["test"]}
    run.remember(
        {"archive": "archive", "ensemble": "members", "voters": [*members, *writers],
         "manifests": {SCORING: manifest}, "judgement": judgement.model_dump(mode="json")}
    )  # fmt: skip
    videos = [_video(place, name, judgement, labelled) for place, name in enumerate(names)]
    run.write_videos(run.resolved(pa.Table.from_pylist(videos, schema=schemas.VIDEOS)))
    made_from = run.made_from(SCORING) or {}
    prepared = [video for video in videos if Path(video["uri"]).name not in lost]
    clips = [clip for video in prepared for clip in _clips(video, made_from[video["video_id"]])]
    tables.write_rows(clips, schemas.CLIPS, storage.join(run.clips_path(SCORING), "part-0.parquet"))
    truth = {video["video_id"]: video for video in videos}
    for name in members:
        answers = [_answer(clip, truth[clip["video_id"]], judgement, draw) for clip in clips]
        _write_answers(run, name, answers)
    for name in writers:
        texts = [_text(clip, f"{name} sees a person who looks away.") for clip in clips]
        _write_answers(run, name, texts)
    left_out = [
        schemas.finding(video["video_id"], "error", "unreadable", "no video", "left out")
        | {"made_from": _left_out(run, video["video_id"])}
        for video in videos
        if video not in prepared
    ]
    findings = storage.join(run.findings_path(f"prepare_{SCORING}"), "part-0.parquet")
    tables.write_rows(left_out, schemas.FINDINGS, findings)
    run.note_cost(Cost("score v1 v2 v3", "clips", len(clips), 0, 12.5))
    if members:
        predictions = run.predictions()
        verdicts = make_verdicts(run.videos(), run.clips(SCORING), predictions, members, judgement)
        tables.write_table(run.stored(verdicts), run.path("verdicts", "part-0.parquet"))
    if members and labelled:
        evaluate(run, ("test",), judgement, answers=run.predictions(), settings=DRAWS)
    return run


def write_video(path: Path) -> None:
    """Twenty seconds of a test picture; or but one, by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = "testsrc=duration=20:size=160x120:rate=5"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture]
    command += [*(["-frames:v", "1"] if path.suffix == ".jpg" else []), str(path)]
    subprocess.run(command, check=True)


def _video(place: int, name: str, judgement: Judgement, labelled: bool) -> schemas.Row:
    options = judgement.answer.options
    labels = [options[place % len(options)]] if options else sorted({WORDS[place % 8], "calm"})
    shown = labelled and labels[:1] == ["Yes"]
    return {
        "video_id": f"{place:06}", "uri": f"archive/{name}", "participant_id": f"p{place % 60}",
        "split": "test" if labelled else None, "labels": labels if labelled else None,
        "intervals": [{"start_s": 2.0, "end_s": 6.5, "label": None}] if shown else None,
        "attributes": {"question": str(place % 7), "gender": "fm"[place % 2]},
    }  # fmt: skip


def _clips(video: schemas.Row, made_from: str) -> list[schemas.Row]:
    if video["uri"].endswith(".jpg"):
        still = {"video_id": video["video_id"], "source_uri": video["uri"], "clip_index": 0}
        still |= {"start_s": STILL.start_s, "end_s": STILL.end_s, "fps": 0.0, "has_audio": False}
        return [still | {"clip_id": f"{video['video_id']}-0", "made_from": made_from}]
    count = 3 + int(video["video_id"]) % 5
    return [
        {
            "clip_id": f"{video['video_id']}-{n}", "video_id": video["video_id"],
            "source_uri": video["uri"], "clip_index": n, "start_s": n * CLIP_S,
            "end_s": (n + 1) * CLIP_S, "subtitle": f"I would, but … ({n})", "has_audio": True,
            "made_from": made_from,
        }
        for n in range(count)
    ]  # fmt: skip


def _answer(
    clip: schemas.Row, video: schemas.Row, judgement: Judgement, draw: random.Random
) -> schemas.Row:
    row = {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": "ok"}
    if draw.random() < 0.01:
        return row | {"status": "error", "error_kind": "no_picture"}
    options = judgement.answer.options
    if not options:
        return row | {"labels": sorted(set(draw.choices(WORDS, k=2)))}
    hits = int(clip["video_id"]) % len(options) == 0 and clip["clip_index"] in (1, 2)
    first = draw.betavariate(4, 2) if hits else draw.betavariate(1.3, 7)
    chances = {option: (1 - first) / (len(options) - 1) for option in options} | {options[0]: first}
    return row | {"labels": [max(chances, key=lambda o: chances[o])], "chances": chances}


def _text(clip: schemas.Row, text: str) -> schemas.Row:
    row = {"clip_id": clip["clip_id"], "video_id": clip["video_id"], "status": "ok"}
    return row | {"text": text, "raw_text": text, "labels": []}


def _write_answers(run: RunDirectory, member: str, rows: list[schemas.Row]) -> None:
    path = storage.join(run.predictions_path(member), "part-0.parquet")
    tables.write_rows(rows, schemas.PREDICTIONS, path)


def _left_out(run: RunDirectory, video_id: str) -> str:
    limits = run.settings()["manifests"][SCORING]["limits"]
    return left_out_made_from((run.made_from(SCORING) or {})[video_id], limits)
