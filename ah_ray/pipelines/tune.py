"""Tune: thresholds and weights of a run's rules, fitted on its validation videos.

What is found stands in ``run.yaml`` with what it was found on, and ``reduce`` goes by it as long as
that is so: other answers, labels or rules, and it is stale and refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from ah_ray import lineage
from ah_ray.config import RunConfig
from ah_ray.ensemble import require_voters
from ah_ray.errors import ConfigError
from ah_ray.evaluation.tuning import FIGURES, Example, tunable, usual_figure
from ah_ray.evaluation.tuning import tune as fitted
from ah_ray.members import Member, member_fingerprint
from ah_ray.pipelines.ledger import in_splits
from ah_ray.pipelines.parts import Parts
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.verdict_rows import answers_by_video, how_judged, made_from
from ah_ray.progress import console
from ah_ray.progress import results as results_console
from ah_ray.tasks.judgement import Judgement, Rules

_KEY = "tuned"  # of ``run.yaml``
_TEST = "test"


def tune(
    run: RunDirectory,
    config: RunConfig,
    members: Sequence[Member],
    splits: Sequence[str],
    metric: str | None = None,
) -> None:
    """Fit what the rules leave open, and note it in the run.

    Args:
        run: the run directory; the videos of ``splits`` are scored in it.
        config: states the rules.
        members: the ensemble.
        splits: whose videos with labels are fitted on.
        metric: one of ``tuning.FIGURES``; by default the usual one of such an answer.

    Raises:
        ConfigError: the rules leave nothing open; a split is that of the test, or of training; its
            videos have no labels, or no answers.
    """
    stated = config.judgement()
    if not tunable(stated.rules):
        raise ConfigError(
            f"{config.task}: rules",
            f"{stated.rules.clips} over clips and {stated.rules.members} over members have no "
            "threshold and no weights",
            "state rules that have, such as {mean: {}} or {weighted: ...} (docs/tasks.md)",
        )
    _require_validation(splits, config)
    name = metric or usual_figure(stated.answer)
    if name not in FIGURES:
        raise ConfigError("--metric", f"there is no figure {name!r}", f"one of {sorted(FIGURES)}")
    examples = _examples(run, members, splits, stated)
    if not examples:
        raise ConfigError(
            "--split", f"no video of {', '.join(splits)} has a label and clips in the run",
            "add the split to score.splits, then `ah-ray prepare` and `score`",
        )  # fmt: skip
    unanswered = [
        one.video_id
        for one in examples
        if all(given.status == "missing" for some in one.answers.values() for given in some)
    ]
    if unanswered:
        raise ConfigError(
            run.path("predictions"),
            f"{len(unanswered)} of {len(examples)} videos of {', '.join(splits)} have no answer "
            f"({', '.join(unanswered[:5])}…)",
            "add the split to score.splits and run `ah-ray score`",
        )
    found = fitted(examples, stated, FIGURES[name])
    noted = {
        "stated": stated.facts(),
        "rules": found.rules.model_dump(mode="json"),
        "on": {"splits": sorted(splits), "videos": len(examples), "metric": name,
               "before": round(found.before, 6), "after": round(found.after, 6),
               "answers": _fingerprint(examples, stated)},
    }  # fmt: skip
    run.remember({_KEY: noted})
    table = Table(title=f"tuned on {len(examples)} videos of {', '.join(splits)}", box=None)
    for heading in ("", "clips", "members", name):
        table.add_column(heading, overflow="fold")
    for row, rules, value in (
        ("stated", stated.rules, found.before), ("tuned", found.rules, found.after)
    ):  # fmt: skip
        table.add_row(row, str(rules.clips), str(rules.members), f"{value:.3f}")
    results_console.print(table)


def forget(run: RunDirectory) -> None:
    """Judge by what is stated again."""
    run.remember({_KEY: None})


def tuned_judgement(run: RunDirectory, config: RunConfig, members: Sequence[Member]) -> Judgement:
    """How a run is judged: as stated, with what was fitted for these rules.

    Raises:
        ConfigError: the answers or the labels that it was fitted on are others now.
    """
    stated = config.judgement()
    noted = run.settings().get(_KEY)
    if noted is None:
        return stated
    if noted["stated"] != stated.facts():
        console.print(
            "  [yellow]warning[/] other rules, policies or options are stated than were tuned: "
            "what `ah-ray tune` has found is not used"
        )
        return stated
    on, where = noted["on"], f"{run.path('run.yaml')}: {_KEY}"
    if _fingerprint(_examples(run, members, on["splits"], stated), stated) != on["answers"]:
        raise ConfigError(
            where,
            f"was fitted on other answers, members or labels of {', '.join(on['splits'])} than "
            "there are now",
            "run `ah-ray tune` again, or `ah-ray tune --forget`",
        )
    rules = Rules(**noted["rules"])
    console.print(
        f"  by rules that were tuned on {on['videos']} videos of {', '.join(on['splits'])}: "
        f"{rules.clips} over clips, {rules.members} over members",
        markup=False,
    )
    return stated.model_copy(update={"rules": rules}).check(where)


def require_not_tuned_on(run: RunDirectory, config: RunConfig) -> None:
    """Fail when videos are evaluated that the rules were fitted on.

    Raises:
        ConfigError: naming the splits.
    """
    noted = run.settings().get(_KEY)
    if noted is None or noted["stated"] != config.judgement().facts():
        return
    if shared := sorted(set(noted["on"]["splits"]) & set(config.score.splits)):
        raise ConfigError(
            "score.splits",
            f"the rules were tuned on {', '.join(shared)}",
            "evaluate other splits (--set score.splits=[test]), or `ah-ray tune --forget`",
        )


def _require_validation(splits: Sequence[str], config: RunConfig) -> None:
    if not splits:
        fix = "name one with --split, or train.validation_splits"
        raise ConfigError("--split", "there is no validation split", fix)
    for split in splits:
        if split.casefold() == _TEST:
            problem = "what is fitted on the test split says nothing about it any more"
            raise ConfigError("--split", problem, "tune on the validation split")
        if split in config.train.splits:
            problem = f"members are trained on {split}, and surer of it than of anybody else"
            raise ConfigError("--split", problem, "tune on the validation split")


def _examples(
    run: RunDirectory, members: Sequence[Member], splits: Sequence[str], stated: Judgement
) -> list[Example]:
    """The videos of some splits that have labels and clips, with the answers that hold."""
    videos = in_splits(run.videos(), splits, unlabelled=False)
    videos = videos.filter(pc.is_valid(videos["labels"]))
    columns = (videos[name].to_pylist() for name in ("video_id", "labels"))
    truth = {video: frozenset(labels) for video, labels in zip(*columns, strict=True)}
    wanted = pa.array(sorted(truth), pa.string())
    fingerprints = {one.name: member_fingerprint(one) for one in require_voters(members)}
    parts = Parts(run, fingerprints, stated.reader)
    return [
        Example(video, truth[video], answers)
        for number in range(len(parts))
        for part in [parts.read(number)]
        for video, answers in answers_by_video(wanted, part.clips, part.answers, stated.answer)
    ]


def _fingerprint(examples: Sequence[Example], stated: Judgement) -> str:
    """Of all that is fitted on."""
    how = how_judged(stated, sorted({name for one in examples for name in one.answers}))
    facts: list[Any] = [
        [one.video_id, sorted(one.truth), made_from(how, one.answers)] for one in sorted(examples)
    ]
    return lineage.fingerprint(facts)
