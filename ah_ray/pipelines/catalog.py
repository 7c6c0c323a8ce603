"""Catalog: a data set in its own format in, the videos table and its findings out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ah_ray import schemas, storage, tables
from ah_ray.catalog import Catalog, CatalogEntry, compare_with_published, parse_entry, read_catalog
from ah_ray.catalog.against_config import against_config
from ah_ray.config import RunConfig
from ah_ray.contents import contents_of
from ah_ray.errors import ConfigError
from ah_ray.evaluation.leaks import find_leaks
from ah_ray.findings import LEFT_OUT, note
from ah_ray.participants import person
from ah_ray.pipelines.copies import compare_known, look_for_copies
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.seen import seen_by_members
from ah_ray.progress import console, printable
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Answer

_AGAINST_CONFIG = "config"  # the stage of findings about the run config
_MOST_LABELS = 8  # that fit into a table
_ENTRY = "catalog.yaml"  # the entry that a run's catalog was read with, as in data_catalog/


def catalog(run: RunDirectory, entry: CatalogEntry, root: str, answer: Answer) -> None:
    """Read an archive and write its videos and findings, replacing those of an earlier run.

    Args:
        run: the run directory.
        entry: what the archive is.
        root: where it is.
        answer: of the task, in whose words labels are stated.

    Raises:
        ConfigError: nothing usable is there, or the run was made from another archive.
    """
    found = read_into(run, entry, root, answer)
    compare_known(run)
    splits = Counter(video["split"] or "no split" for video in found.videos)
    sizes = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
    console.print(f"  {len(found.videos)} videos: {escape(printable(sizes))}")
    for (severity, kind), count in sorted(
        Counter((row["severity"], row["kind"]) for row in found.findings).items()
    ):
        console.print(f"  {severity}: {count} {kind}")
    _print_differences(entry, found.videos, answer.options)


def read_into(run: RunDirectory, entry: CatalogEntry, root: str, answer: Answer) -> Catalog:
    """Read an archive and write its videos and findings into the run, and what it was read with."""
    console.print(f"[bold]catalog[/]: {escape(printable(f'{entry.title} at {root}'))}")
    for what, terms in (("licence", entry.licence), ("access", entry.access)):
        if terms:
            console.print(f"  {what}: {escape(printable(' '.join(terms.split())))}")
    # First: a mistyped root does not claim the run.
    found = with_contents(read_catalog(entry, root, answer))
    if not found.videos:
        problem = "names videos, but none of their files is there"
        raise ConfigError(f"catalog.root: {root}", problem, "check the path")
    run.claim({"archive": run.inside(storage.absolute(root))})
    run.remember({"options": list(answer.options)})
    facts = yaml.safe_dump(entry.model_dump(exclude_defaults=True), allow_unicode=True)
    storage.write_bytes(run.path(_ENTRY), facts.encode())
    findings = storage.join(run.findings_path("catalog"), "part-0.parquet")
    tables.write_rows(found.findings, schemas.FINDINGS, findings)
    run.write_videos(pa.Table.from_pylist(found.videos, schema=schemas.VIDEOS))
    storage.remove(run.findings_path(_AGAINST_CONFIG))  # they were about an earlier reading
    return found


def read_and_look(run: RunDirectory, entry: CatalogEntry, config: RunConfig) -> None:
    """Read an archive as ``read_into`` does, compare it with the run config, look for copies."""
    answer = load_task(config.task).answer
    found = read_into(run, entry, config.catalog.root, answer)
    findings = against_config(found.videos, config.train, config.score, answer)
    findings += seen_by_members(run, config)
    if findings:
        path = storage.join(run.findings_path(_AGAINST_CONFIG), "part-0.parquet")
        tables.write_rows(findings, schemas.FINDINGS, path)
    look_for_copies(run, config.limits)


def with_contents(catalog: Catalog) -> Catalog:
    """The catalog with what each video's file holds; a video without a file becomes a finding.

    A file that cannot be read now has no content: prepare tries it, and says why. The same content
    in two splits is a finding.
    """
    contents = contents_of(video["uri"] for video in catalog.videos)
    videos, findings = [], list(catalog.findings)
    for video in catalog.videos:
        content = contents[video["uri"]]
        if isinstance(content, FileNotFoundError):
            message = f"{video['uri']}: there is no such file"
            findings.append(note(video["video_id"], "missing_file", message))
        else:
            videos.append(video | {"content": content if isinstance(content, str) else None})
    leaks = find_leaks(pa.Table.from_pylist(videos, schema=schemas.VIDEOS))
    findings += [  # participants are looked at by the readers, and a file is one video
        note(leak.item, "content_in_two_splits", str(leak))
        for leak in leaks
        if leak.kind == "content"
    ]
    return Catalog(videos, findings)


def check(run: RunDirectory) -> int:
    """Print all findings of a run by stage and kind, and what differs from the published sizes.

    Returns:
        The number of findings that are errors.

    Raises:
        ConfigError: the run has no catalog yet.
    """
    videos = run.videos().to_pylist()
    run.require(_ENTRY, "ah-ray catalog")
    entry = parse_entry(storage.read_bytes(run.path(_ENTRY)), run.path(_ENTRY))
    findings = run.findings().to_pylist()
    for stage in sorted({row["stage"] for row in findings}):
        rows = [row for row in findings if row["stage"] == stage]
        console.print(findings_table(stage, rows), soft_wrap=False)
    console.print(sizes_table(videos, run.settings().get("options", [])), soft_wrap=False)
    _print_differences(entry, videos, run.settings().get("options", []))
    severities = Counter(row["severity"] for row in findings)
    counts = ", ".join(f"{severities[name]} {name}" for name in schemas.SEVERITIES)
    left_out = len({row["item_id"] for row in findings
                    if row["stage"] == "catalog" and row["kind"] in LEFT_OUT})  # fmt: skip
    console.print(f"{len(videos)} videos in the catalog, {left_out} left out; findings: {counts}")
    return severities["error"]


def findings_table(stage: str, findings: Sequence[dict[str, Any]]) -> Table:
    """The findings of one stage by kind, the worst first, with the rule and one example of each."""
    table = Table(title=stage, title_justify="left", box=SIMPLE_HEAD)
    for name in ("severity", "kind", "count"):
        table.add_column(name, no_wrap=True)
    table.add_column("what is done, and an example", overflow="fold")
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in findings:
        order = schemas.SEVERITIES.index(row["severity"])
        groups.setdefault((order, row["kind"]), []).append(row)
    for (order, kind), rows in sorted(groups.items()):
        example = min(rows, key=lambda row: (row["message"], row["item_id"]))
        # As text: what comes from an archive is no markup of ours and no control sequence.
        about = Text(f"{example['action']}\n").append(printable(example["message"]), style="dim")
        table.add_row(schemas.SEVERITIES[order], Text(printable(kind)), str(len(rows)), about)
    return table


def sizes_table(videos: Sequence[Mapping[str, Any]], options: Sequence[str]) -> Table:
    """Videos of each split by their labels, and how many people are in them.

    Args:
        videos: rows of ``schemas.VIDEOS``.
        options: of the task's answer; where there are none, the most frequent labels are shown.
    """
    every = Counter(label for video in videos for label in video["labels"] or ())
    shown = list(options) or [label for label, _ in every.most_common(_MOST_LABELS)]
    table = Table("split", box=SIMPLE_HEAD)
    for name in ("videos", *shown, "no label", "participants"):
        table.add_column(Text(printable(name)), justify="right")
    splits: defaultdict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for video in videos:
        splits[video["split"]].append(video)
    for split, rows in sorted(splits.items(), key=lambda item: (item[0] is None, item[0])):
        labels = Counter(label for video in rows for label in video["labels"] or ())
        unlabelled = sum(video["labels"] is None for video in rows)
        people = {person(v["participant_id"]) for v in rows if v["participant_id"] is not None}
        sizes = (len(rows), *(labels[label] for label in shown), unlabelled, len(people))
        table.add_row(Text(printable(split or "no split")), *map(str, sizes))
    return table


def _print_differences(
    entry: CatalogEntry, videos: Sequence[dict[str, Any]], options: Sequence[str]
) -> None:
    for line in compare_with_published(entry, videos, options):
        console.print(f"  differs from what was published: {escape(printable(line))}")
