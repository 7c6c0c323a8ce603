"""Augment: what captioners wrote of clips in, captions to train on out.

    answers of the captioners -> a part for each range of clips: filters -> near-duplicates,
    across all parts in order -> captions, captions.json, captions.jsonl

Captioners are members that write text, and their readers members that find labels in it, so all
that is slow here is scoring, which goes on where it was stopped. The filters start anew with each
call and end with the same bytes. ``captions.jsonl``, which training takes, is written last and gone
before anything else changes: what is there is whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from ah_ray import schemas, storage, tables
from ah_ray.captions.config import AugmentConfig
from ah_ray.captions.duplicates import Told
from ah_ray.captions.filters import LABEL_FOUND, Caption, Filter, dropped_by, made_filters
from ah_ray.captions.held_out import held_out
from ah_ray.captions.rows import COUNTS_FILE, ROWS_FILE, TABLE
from ah_ray.cluster import connect
from ah_ray.config import RunConfig
from ah_ray.ensemble import voting, writing
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.members import Member, MemberCard, member_fingerprint
from ah_ray.pipelines.attempts import Attempts
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console
from ah_ray.schemas import Row
from ah_ray.tasks import LABEL, Prompt, Question, load_task
from ah_ray.tasks.answers import LabelSet

#: What drops captions besides the filters.
HELD_OUT, NO_CAPTION, NEAR_DUPLICATES = "held_out", "no_caption", "near_duplicates"

# The ranges of clip ids, which are hexadecimal: always the same ones, whatever the archive.
_BOUNDS = (None, *"123456789abcdef", None)
_IN_ROWS = [name for name in schemas.CAPTIONS.names if name not in ("dropped_by", "why")]


def captioning(config: RunConfig) -> RunConfig:
    """A config with the splits that are captioned as those that are scored.

    Raises:
        ConfigError: one of them is evaluated, there is no such filter, or members are told labels
            of a task that has none.
    """
    made_filters(config.augment.filters)
    if config.told and not load_task(config.task).answer.votes:
        problem = f"is {config.task}, which has no labels that {config.told[0]} could be told"
        raise ConfigError("task", problem, "name the task that the labels are of")
    if tested := sorted({"test", *config.score.splits}.intersection(config.augment.splits)):
        raise ConfigError(
            "augment.splits",
            f"{', '.join(tested)} is evaluated: what is trained on its captions could not be",
            "name splits that are trained on; score.splits are those that are evaluated",
        )
    asked = config.score.model_copy(update={"splits": config.augment.splits, "prior": None})
    return config.model_copy(update={"score": asked})


def labels_card(config: RunConfig) -> MemberCard:
    """The card of who tells captioners the labels of a run."""
    task = load_task(config.task)
    return MemberCard(
        name=LABEL,
        weights="labels",
        question=Question(name=task.name, answer=task.answer, prompt=Prompt(system="", user="")),
        model=config.model,
        media=MediaConfig(picture="none", audio="none"),
        segmentation=config.segmentation,
    )


def augment(run: RunDirectory, members: Sequence[Member], settings: AugmentConfig) -> None:
    """Filter the captions of the captioners among ``members``, and write those that are kept.

    Args:
        run: the run directory; its clips and answers are read.
        members: whose answers there are.
        settings: the splits, and what is kept.

    Raises:
        ConfigError: nobody writes captions, or there is no such filter, or it failed.
    """
    filters = made_filters(settings.filters)
    captioners = {one.name: member_fingerprint(one) for one in writing(members)}
    if not captioners:
        problem = "nobody writes captions: all answer with labels, or are read by others"
        raise ConfigError("members", problem, "give some a task whose answer is text")
    read = [(one, member_fingerprint(one)) for one in voting(members)]
    readers_of = {
        name: {one.name: known for one, known in read if name in one.card.reads}
        for name in captioners
    }
    unread = sorted(name for name, readers in readers_of.items() if not readers)
    if unread and LABEL_FOUND in dict(filters):
        problem = f"{LABEL_FOUND} asks who reads a caption, and nobody reads {unread[0]}"
        raise ConfigError("augment.filters", problem, f"add a member with reads: [{unread[0]}]")
    console.print(f"[bold]augment[/]: captions of {', '.join(sorted(captioners))}")
    storage.remove(run.path(ROWS_FILE))
    storage.remove(run.path(TABLE))
    asked = Asked(captioners, readers_of)
    connect()
    attempts = Attempts()
    with attempts.listening():
        ray.data.from_items([{"part": part} for part in range(len(_BOUNDS) - 1)]).map_batches(
            make_filter_part(run, asked, settings.splits, filters, attempts),
            batch_size=1,
            num_cpus=1,
        ).materialize()
    counts = ray.get(_across_parts.remote(run, asked, settings))
    _print_counts(counts)


class Asked(NamedTuple):
    """Whose answers captions are made of.

    Attributes:
        captioners: their fingerprints by name.
        readers: of each captioner, those of the members that find labels in what it writes.
    """

    captioners: Mapping[str, str]
    readers: Mapping[str, Mapping[str, str]]

    @property
    def members(self) -> dict[str, str]:
        """All of them, with their fingerprints."""
        return {
            name: f for of in (self.captioners, *self.readers.values()) for name, f in of.items()
        }


def make_filter_part(
    run: RunDirectory,
    asked: Asked,
    splits: Sequence[str],
    filters: Sequence[tuple[str, Filter]],
    attempts: Attempts,
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function that writes one part of the captions, each with the first filter that drops it.

    Columns in: ``part``. Columns out: ``captions``, a count.

    Args:
        run: the run directory.
        asked: whose answers there are.
        splits: that are captioned.
        filters: by name, in order.
        attempts: hears of what ends the stage.
    """

    def filter_part(batch: Mapping[str, Any]) -> dict[str, Any]:
        (part,) = batch["part"].tolist()
        with attempts.telling():
            rows = [
                row | {"dropped_by": dropped[0], "why": dropped[1]}
                for row, dropped in _judged(run, asked, splits, filters, part)
            ]
        if rows:
            table = run.stored(pa.Table.from_pylist(rows, schema=schemas.CAPTIONS))
            tables.write_table(table, _part(run, part))
        return {"captions": [len(rows)]}

    return filter_part


def _judged(
    run: RunDirectory,
    asked: Asked,
    splits: Sequence[str],
    filters: Sequence[tuple[str, Filter]],
    part: int,
) -> Iterator[tuple[Row, tuple[str | None, str | None]]]:
    """The captions of one part in order, each with what drops it and why."""
    within = _within(part)
    clips = in_splits(run.clips(SCORING, where=within), splits, unlabelled=True)
    answers = {
        (row["clip_id"], row["member"]): row
        for row in run.answers(asked.members, clips, where=within).to_pylist()
    }
    videos = run.videos()
    never = held_out(videos, splits)
    wanted = videos.filter(pc.is_in(videos["video_id"], clips["video_id"].combine_chunks()))
    known = {row["video_id"]: row for row in wanted.to_pylist()}
    for clip in clips.sort_by("clip_id").to_pylist():
        of_clip = {
            name: answers.get((clip["clip_id"], name), {}) for name in sorted(asked.captioners)
        }
        texts = {n: a["text"] for n, a in of_clip.items() if a.get("status") == "ok"}
        video = known[clip["video_id"]]
        for name, answer in of_clip.items():
            row = {key: clip.get(key) for key in schemas.CAPTIONS.names}
            row |= {"captioner": name, "caption": texts.get(name)}
            row |= {"made_from": answer.get("made_from"), "labels": video["labels"]}
            if clip["video_id"] in never:
                yield row, (HELD_OUT, never[clip["video_id"]])
            elif name not in texts:
                yield row, (NO_CAPTION, answer.get("error_kind") or answer.get("status", "missing"))
            else:
                others = {other: text for other, text in texts.items() if other != name}
                labels = frozenset(video["labels"] or ())
                attributes = dict(video["attributes"] or ())
                read = {one: answers.get((clip["clip_id"], one), {}) for one in asked.readers[name]}
                found = {one: _labels(answer) for one, answer in read.items()}
                caption = Caption(texts[name], name, others, labels, found, attributes)
                yield row, dropped_by(caption, filters) or (None, None)


def _labels(answer: Row) -> LabelSet | None:
    return frozenset(answer["labels"]) if answer.get("status") == "ok" else None


def _within(part: int) -> pc.Expression:
    """What is true of the rows whose clips are in one of the ranges."""
    first, end = _BOUNDS[part : part + 2]
    clip, ends = pc.field("clip_id"), pc.scalar(True)
    if first is not None:
        ends &= clip >= first
    return ends if end is None else ends & (clip < end)


def _part(run: RunDirectory, part: int) -> str:
    return run.path(TABLE, f"part-{part:02}.parquet")


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]
def _across_parts(run: RunDirectory, asked: Asked, settings: AugmentConfig) -> dict[str, Any]:
    """Drop near-duplicates, write what training takes, and count; all in the order of the parts."""
    similar = settings.near_duplicates
    told = None if similar is None else Told(similar)
    lines: list[str] = []
    counts: Counter[str | None] = Counter()
    kept: Counter[str] = Counter()
    written: Counter[str] = Counter()
    videos: set[str] = set()
    for part in range(len(_BOUNDS) - 1):
        table = tables.read_table(_part(run, part), schemas.CAPTIONS)
        rows = table.to_pylist()
        for row in rows:
            if told is not None and row["dropped_by"] is None:
                key = f"{row['clip_id']} by {row['captioner']}"
                if (like := told.repeats(key, row["caption"])) is not None:
                    row |= {"dropped_by": NEAR_DUPLICATES, "why": f"nearly that of {like}"}
            counts[row["dropped_by"]] += 1
            written[row["captioner"]] += 1
            if row["dropped_by"] is None:
                kept[row["captioner"]] += 1
                videos.add(row["video_id"])
                line = {name: row[name] for name in _IN_ROWS}
                lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        if told is not None and rows:
            tables.write_rows(rows, schemas.CAPTIONS, _part(run, part))
    found = {
        "captions": counts.total(),
        "kept": counts.pop(None, 0),
        "dropped": dict(sorted(counts.items())),
        "captioners": {
            name: {"captions": count, "kept": kept[name]} for name, count in sorted(written.items())
        },
        "videos": len(videos),
        "filtered_by": settings.model_dump(mode="json"),
        "read_by": {n: f for of in asked.readers.values() for n, f in sorted(of.items())},
    }
    storage.write_bytes(run.path(COUNTS_FILE), json.dumps(found, indent=2).encode())
    storage.write_bytes(run.path(ROWS_FILE), "".join(lines).encode())
    return found


def _print_counts(counts: Mapping[str, Any]) -> None:
    dropped = ", ".join(f"{count} {name}" for name, count in counts["dropped"].items())
    console.print(
        f"  {counts['captions']} captions: {counts['kept']} kept of {counts['videos']} videos; "
        f"dropped by: {dropped or 'nothing'}",
        markup=False,
    )
    for name, of in counts["captioners"].items():
        console.print(f"  {name}: {of['kept']} of {of['captions']} kept", markup=False)
