"""Status: what of a run is done, stale, to do or lost, read from its tables alone.

Works on any run, while a command works on it or after; nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ah_ray import lineage, schemas, storage, tables
from ah_ray.captions.rows import COUNTS_FILE, ROWS_FILE, TABLE, Source
from ah_ray.errors import ConfigError
from ah_ray.members import Member, is_complete, member_fingerprint, read_member, read_seen
from ah_ray.pipelines.batches import PLANNED
from ah_ray.pipelines.evaluate import METRICS_FILE, compared_by, metrics_made_from, read_metrics
from ah_ray.pipelines.ledger import in_scope
from ah_ray.pipelines.reduce import CurrentVerdicts, noted_judgement
from ah_ray.pipelines.run_directory import SCORING, RunDirectory, answers_made_from
from ah_ray.pipelines.run_lock import holder_of
from ah_ray.pipelines.seen import changed_files, changed_since
from ah_ray.pipelines.standing import standing
from ah_ray.progress import results
from ah_ray.report.made_from import REPORT_FILE, report_made_from
from ah_ray.report.page import stated_made_from
from ah_ray.tasks.judgement import Judgement
from ah_ray.yaml_objects import build


class Line(NamedTuple):
    """One line of the report.

    Attributes:
        stage: and what of it.
        unit: what is counted.
        done: finished, and made from what is there now.
        stale: made from something that has changed since; the stage does it again.
        to_do: not there yet.
        lost: left out, or error rows: each with its reason in a table.
        note: what to know besides.
    """

    stage: str
    unit: str
    done: int
    stale: int
    to_do: int
    lost: int
    note: str = ""


def print_status(run: RunDirectory) -> None:
    """Print the report on a run.

    Raises:
        ConfigError: there is no run.
    """
    if not storage.exists(run.path("run.yaml")):
        raise ConfigError(run.uri, "is no run directory", "check --run")
    table = Table(box=SIMPLE_HEAD, title=Text(run.uri), title_justify="left")
    for name in ("stage", "unit"):
        table.add_column(name, no_wrap=True)
    for name in ("done", "stale", "to do", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in status(run):
        table.add_row(*(Text(str(value)) for value in line))
    results.print(table)
    if holder := holder_of(run):
        results.print(f"at work now: {holder}", markup=False)


def status(run: RunDirectory) -> Iterator[Line]:
    """The report on a run, stage by stage; stages of which nothing is known are left out."""
    if not storage.exists(run.path("videos")):
        yield Line("catalog", "videos", 0, 0, 0, 0, "not read yet: run `ah-ray catalog`")
        return
    findings = run.findings()
    of_catalog = findings.filter(pc.equal(findings["stage"], "catalog"))
    errors = pc.sum(pc.equal(of_catalog["severity"], "error")).as_py() or 0
    yield Line("catalog", "videos", len(run.videos()), 0, 0, errors)
    noted = run.settings()
    for purpose, manifest in sorted(noted.get("manifests", {}).items(), reverse=True):
        yield _prepared(run, purpose, manifest["splits"])
    for name in noted.get("members", ()):
        yield _trained(run, name)
    members = [standing(run, name) for name in noted.get("voters", ())]
    for name, member in zip(noted.get("voters", ()), members, strict=True):
        yield _scored(run, name, member)
    if storage.exists(run.path(TABLE)):
        yield _captioned(run)
    hold = storage.exists(run.path("verdicts"))
    if hold and members:
        line = _reduced(run, members)
        hold = not (line.stale or line.to_do)
        yield line
    if storage.exists(run.path(METRICS_FILE)):
        try:
            report = read_metrics(run)
            made_from = metrics_made_from(run, report["splits"])
            same = _same_groups(report)
            current = hold and same and report["made_from"] == made_from
            note = "" if same else "the groups or wheels that it is by have changed since"
        except ConfigError:
            current, note = False, "it is damaged"
        yield Line("evaluate", METRICS_FILE, int(current), int(not current), 0, 0, note)
    if storage.exists(run.path(REPORT_FILE)):
        stated = stated_made_from(storage.read_bytes(run.path(REPORT_FILE)))
        current = hold and stated == report_made_from(run)
        yield Line("report", REPORT_FILE, int(current), int(not current), 0, 0)


def _same_groups(report: dict[str, Any]) -> bool:
    """Whether the groups and wheels that metrics are by are what they were."""
    if not report["by"]:
        return True
    try:
        now = compared_by(build(Judgement, report["task"], METRICS_FILE))
    except ConfigError:  # a file is gone
        return False
    return bool(report["by"] == now)


def _prepared(run: RunDirectory, purpose: str, splits: list[str]) -> Line:
    expected = set(in_scope(run, splits, purpose == SCORING)["video_id"].to_pylist())
    done = run.prepared(purpose) & expected
    lost = (run.left_out(purpose) & expected) - done
    written = tables.ids_in(run.clips_path(purpose), schemas.CLIPS, "video_id")
    stale = (written & expected) - done - lost
    to_do = expected - done - lost - stale
    trial = run.settings().get("limit")
    note = f"a trial of {trial} videos" if trial else ""
    stage = f"prepare {purpose}"
    return Line(stage, "videos", len(done), len(stale), len(to_do), len(lost), note)


def _trained(run: RunDirectory, name: str) -> Line:
    uri, stage = run.path("members", name), f"train {name}"
    if not is_complete(uri):
        return Line(stage, "members", 0, 0, 1, 0)
    member = read_member(uri)
    seen = read_seen(member)
    if seen is None:
        return Line(stage, "members", 1, 0, 0, 0, "does not state what it has seen")
    of = member.card.trained.get("captions")
    captions = of and Source(run.outside(of["uri"]), tuple(of["held_back"]))
    changed = changed_since(run, seen, captions=captions)
    if not changed:
        if files := changed_files(run, member):
            return Line(stage, "members", 0, 1, 0, 0, f"{', '.join(files)} has changed since")
        return Line(stage, "members", 1, 0, 0, 0)
    return Line(stage, "members", 0, 1, 0, 0, f"{len(changed)} of its videos have changed since")


def _scored(run: RunDirectory, name: str, member: Member | None) -> Line:
    clips, stage = run.clips(SCORING, PLANNED), f"score {name}"
    known = ("clip_id", "status", "made_from")
    rows = tables.read_table(
        run.predictions_path(name), schemas.columns(schemas.PREDICTIONS, known[:1])
    )
    if member is None:
        note = "the member, or the base of its adapter, is not there any more"
        return Line(stage, "clips", 0, len(rows), len(clips), 0, note)
    answers = run.answers({name: member_fingerprint(member)}, clips, columns=known)
    mine = answers.filter(pc.is_in(answers["clip_id"], clips["clip_id"]))
    done = pc.count_distinct(mine["clip_id"]).as_py()
    # A clip may have an error row beside the answer that a later try brought.
    answered = mine.filter(pc.not_equal(mine["status"], "error"))
    errors = done - pc.count_distinct(answered["clip_id"]).as_py()
    stale = len(rows) - len(answers)
    return Line(stage, "clips", done - errors, stale, len(clips) - done, errors)


def _captioned(run: RunDirectory) -> Line:
    rows = tables.read_table(run.path(TABLE), schemas.CAPTIONS)
    clips, how = run.clips(SCORING, PLANNED), run.settings().get("asked")
    made: set[str] = set()
    for name in pc.unique(rows["captioner"]).to_pylist():
        if (member := standing(run, name)) is not None:
            made |= answers_made_from(member_fingerprint(member), how, clips)
    for name, known in _read_by(run).items():
        if (member := standing(run, name)) is None or member_fingerprint(member) != known:
            note = f"{name}, who reads them, is another one: run `ah-ray augment` again"
            return Line("augment", "captions", 0, len(rows), 0, 0, note)
    current = rows.filter(lineage.holds(rows, made))
    kept = current["dropped_by"].null_count
    whole = storage.exists(run.path(ROWS_FILE))
    note = "" if whole else "were cut off: run `ah-ray augment` again"
    return Line("augment", "captions", kept, len(rows) - len(current), 0, len(current) - kept, note)


def _read_by(run: RunDirectory) -> dict[str, str]:
    """Who has read the captions of a run, with the fingerprints that they had."""
    path = run.path(COUNTS_FILE)
    found: dict[str, str] = {}
    if storage.exists(path):
        found = json.loads(storage.read_bytes(path)).get("read_by", {})
    return found


def stale_verdicts(run: RunDirectory) -> int:
    """How many verdicts of a run are missing, or not made from the answers that there are now."""
    members = [standing(run, name) for name in run.settings().get("voters", ())]
    if not members:
        return 0  # nobody to compare with
    line = _reduced(run, members)
    return line.stale + line.to_do


def _reduced(run: RunDirectory, voters: Sequence[Member | None]) -> Line:
    members = [member for member in voters if member is not None]
    if len(members) < len(voters):
        note = "somebody who voted, or the base of an adapter, is not there any more"
        return Line("reduce", "videos", 0, len(run.verdicts()), 0, 0, note)
    try:
        judgement = noted_judgement(run)
    except ConfigError as error:  # a file that a rule names may not be there any more
        return Line("reduce", "videos", 0, len(run.verdicts()), 0, 0, error.problem)
    if judgement is None:
        return Line("reduce", "videos", 0, 0, len(run.prepared(SCORING)), 0)
    done = stale = to_do = 0
    for both in CurrentVerdicts(run, members, judgement).beside(run):
        now, written = (
            dict(zip(table["video_id"].to_pylist(), table["made_from"].to_pylist(), strict=True))
            for table in both
        )
        done += sum(written.get(video) == made_from for video, made_from in now.items())
        stale += sum(now.get(video) != made_from for video, made_from in written.items())
        to_do += len(now.keys() - written)
    return Line("reduce", "videos", done, stale, to_do, 0)
