"""What the members of a run have seen, against what the archive states now.

``evaluation.seen`` has the rules; here they meet the tables of a run. ``catalog check``, ``train``,
``score``, ``evaluate`` and ``status`` ask.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ah_ray import lineage, storage
from ah_ray.captions.rows import Source, seen_captions
from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.evaluation import seen as rules
from ah_ray.findings import note
from ah_ray.members import Member, is_complete, read_member, read_seen
from ah_ray.pipelines.ledger import in_scope, in_splits
from ah_ray.pipelines.run_directory import TRAINING, RunDirectory
from ah_ray.progress import console
from ah_ray.schemas import Row
from ah_ray.training.row_files import ROW_FILES, read_rows
from ah_ray.training.rows import RUN


def require_unseen(run: RunDirectory, config: RunConfig, members: Sequence[Member]) -> None:
    """Fail when a member was trained on a labelled video of the splits that are scored.

    Raises:
        LeakError: naming the member and the videos.
    """
    judged = in_splits(run.videos(), config.score.splits, unlabelled=False)
    rules.require_unseen({member.name: read_seen(member) for member in members}, judged)


def print_doubts(run: RunDirectory, config: RunConfig, members: Sequence[Member]) -> None:
    """Print which members may be better or worse than they look.

    Nobody who was trained on is judged (``require_unseen``); these are weaker doubts.
    """
    judged = in_splits(run.videos(), config.score.splits, unlabelled=False)
    for name, table in ((member.name, read_seen(member)) for member in members):
        if table is None:
            console.print(f"  [yellow]warning[/] member {name} does not state what it has seen")
            continue
        if chosen := rules.known_videos(table, judged, rules.VALIDATION):
            console.print(
                f"  [yellow]warning[/] member {name} was chosen by {len(chosen)} of these "
                f"{len(judged)} videos, or by people in them: it may look better than it is"
            )
        if changed := changed_since(run, table, config.train.splits, config.captions_of(name)):
            console.print(
                f"  [yellow]warning[/] member {name} was trained when {len(changed)} videos had "
                "other labels, intervals, subtitles or files: `ah-ray train` says which"
            )
    for member in members:
        if files := changed_files(run, member):
            console.print(
                f"  [yellow]warning[/] member {member.name} was trained on other rows than "
                f"{', '.join(files)} has now"
            )


def seen_by_members(run: RunDirectory, config: RunConfig) -> list[dict[str, str]]:
    """A finding for each member of the run that was trained on what it would be judged by."""
    videos = run.videos()
    judged = videos.filter(pc.is_in(videos["split"], pa.array(config.score.splits, pa.string())))
    found = []
    for name in config.members:
        uri = run.path("members", name)
        seen = read_seen(read_member(uri)) if is_complete(uri) else None
        if seen is not None and (known := rules.known_videos(seen, judged, rules.TRAINING)):
            message = f"{name} was trained on {len(known)} of {len(judged)} videos: {known[0]}"
            found.append(note(name, "member_has_seen", message))
    return found


def require_up_to_date(run: RunDirectory, config: RunConfig, finished: Sequence[str]) -> None:
    """Fail when a finished member has seen what it must not have, or not what there is to see.

    Raises:
        ConfigError: its clips have changed since it was trained.
        LeakError: it was trained on a video that is evaluated, or on one of its participants.
    """
    tested = in_splits(run.videos(), config.score.splits, unlabelled=False)
    for member in (read_member(run.path("members", name)) for name in finished):
        seen = read_seen(member)
        if seen is None:
            console.print(f"  [yellow]warning[/] member {member.name} does not state what it saw")
            continue
        rules.require_unseen({member.name: seen}, tested)
        if files := changed_files(run, member):
            raise ConfigError(
                member.uri,
                f"was trained on other rows than {', '.join(files)} has now",
                f"delete {member.uri} to train it again, or give a new --run",
            )
        source = config.captions_of(member.name)
        if changed := changed_since(run, seen, config.train.splits, source):
            others = "clips of other videos, labels or intervals than the manifest has"
            if source is not None:
                others = f"other captions than {source.file} has"
            raise ConfigError(
                member.uri,
                f"was trained and chosen by {others} now: {len(changed)} videos differ "
                f"({', '.join(changed[:5])}…)",
                f"delete {member.uri} to train it again, or give a new --run",
            )


def changed_since(
    run: RunDirectory,
    seen: pa.Table,
    splits: Sequence[str] | None = None,
    captions: Source | None = None,
) -> list[str]:
    """The videos of which a member has seen other clips than it would be given now, by video_id.

    Args:
        run: the run directory.
        seen: ``schemas.SEEN`` of the member.
        splits: that are trained on; by default those that the manifest was made for.
        captions: that it was trained on instead. Of those that are gone nothing is known.
    """
    if not len(seen):  # a base model as it is was not trained here
        return []
    if captions is not None:
        if not storage.exists(captions.file):
            return []
        now = seen_captions(*captions.read("members: captions"))
        return rules.changed_videos(seen.to_pylist(), now)
    now = _to_be_seen(run, run, rules.TRAINING, splits)
    stated = seen.to_pylist()
    if any(row["role"] == rules.VALIDATION for row in stated):
        now += _to_be_seen(run, run.within("validation"), rules.VALIDATION)
    return rules.changed_videos(stated, now)


def changed_files(run: RunDirectory, member: Member) -> list[str]:
    """The files of rows that are others now than when the member was trained.

    Of a file that is gone nothing is known.

    Raises:
        ConfigError: what is in a file now are no rows.
    """
    stated = member.card.trained.get(ROW_FILES, {})
    files = {file: made for data, made in stated.items()
             if storage.exists(file := data.replace(RUN, run.uri))}  # fmt: skip
    return sorted(file for file, made in files.items() if read_rows(file, "data").made_from != made)


def _to_be_seen(
    run: RunDirectory, source: RunDirectory, role: str, splits: Sequence[str] | None = None
) -> list[Row]:
    """What a training would state of the catalog's videos as they are now.

    Args:
        run: has the catalog.
        source: has the manifest: the run itself, or the one of its validation participants.
        role: of the videos.
        splits: of the videos; by default those that the manifest was made for.
    """
    noted = source.settings().get("manifests", {}).get(TRAINING)
    if noted is None:  # somebody else's manifest
        return rules.seen_rows(source.clips(TRAINING).to_pylist(), role)
    splits = noted["splits"] if splits is None else splits
    videos = run.stored(in_scope(run, splits, unlabelled=False))
    if role == rules.VALIDATION:
        videos = in_splits(run.stored(run.videos()), splits, unlabelled=False)
        videos = videos.filter(pc.is_valid(videos["labels"]))
    made_from = lineage.clips_made_from(videos.to_pylist(), True, noted["rule"])
    lost = source.left_out(TRAINING)
    return [
        {"video_id": video, "role": role, "made_from": made}
        for video, made in made_from.items()
        if video not in lost
    ]
