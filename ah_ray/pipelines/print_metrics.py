"""What an evaluation found, for people: tables in the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ah_ray.config import ENSEMBLE
from ah_ray.evaluation.combinations import MOST_MEMBERS
from ah_ray.evaluation.explanations import NAME as EXPLANATIONS
from ah_ray.evaluation.judged import Metrics
from ah_ray.evaluation.metrics import HEADINGS
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import printable
from ah_ray.progress import results as console
from ah_ray.tasks.parsing import STRICT

_LEVELS = ("accuracy", "f1", "macro_f1", "average_precision", "n")  # by clip and by video
_MOST_COMBINATIONS = 31  # that are printed: all of five members
# What is told of combinations; many are ranked by the third of what there is.
_UNTOLD = {"weighted_f1", "average_precision", "bah_average_precision", "accuracy"}
_UNTOLD |= {"n", "undecided"}
_TOLD = {"precision": "P", "recall": "R"} | {k: v for k, v in HEADINGS.items() if k not in _UNTOLD}


def print_metrics(report: dict[str, Any]) -> None:
    """A table of members and ensemble for people, and why a metric in it is undefined."""
    ensemble = {ENSEMBLE: report["video_level"][ENSEMBLE]}
    members = {k: v for k, v in report["video_level"].items() if k != ENSEMBLE}
    headings = {key: text for key, text in HEADINGS.items() if key in ensemble[ENSEMBLE]}
    sections = (report.get("baseline", {}), members, ensemble)
    console.print(_metrics_table("video level", headings, sections))
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    for section in sections:
        for name, values in section.items():
            why = {headings[k]: text for k, text in values["undefined"].items() if k in headings}
            for reason in dict.fromkeys(why.values()):
                undefined = ", ".join(key for key, text in why.items() if text == reason)
                notes[f"{reason}, which leaves undefined {undefined} of"][name] = None
    for note, names in notes.items():
        console.print(f"  -: {note} {', '.join(names)}", markup=False)
    if (read := report["read"])["parse"] != STRICT:
        console.print(f"  {read_by(read)}", markup=False)
    for kind, by in report["by"].items():
        known = f", hash {by['hash']}" if by["hash"] else ""
        console.print(f"  {kind}: {_who_says(by)}{known}", markup=False)
    for name, values in report["video_level"].items():
        if found := values.get(EXPLANATIONS):
            counts = ", ".join(f"{count} {of}" for of, count in found.items())
            console.print(f"  explanations of {name}: {counts}", markup=False)
    if confusion := ensemble[ENSEMBLE].get("confusion"):
        console.print(_confusion_table(confusion))


def _who_says(by: Mapping[str, Any]) -> str:
    """By what words count as one, or who scores by which rubric."""
    if "rubric" not in by:
        return f"what counts as one word is by {by['groups']}"
    scale, rubric = by["scale"], f"the rubric of {by['task']} ({by['prompt']})"
    return f"scores of {by['judge']} from {scale[0]:g} to {scale[-1]:g} by {rubric}"


def read_by(read: Mapping[str, Any]) -> str:
    """How replies were read where that was not strictly, in words."""
    otherwise = ", ".join(f"{count} of {name}" for name, count in read["otherwise"].items())
    return f"replies are read by {read['parse']}; otherwise than strictly {otherwise or 'none'}"


def print_levels(report: Mapping[str, Any]) -> None:
    """Every source by clip and by video side by side, as the paper's Table II has them."""
    clips, videos = report.get("clip_level"), report["video_level"]
    if not clips:
        return
    known = [key for key in _LEVELS if key in clips[ENSEMBLE]]
    table = Table(title="by clip and by video", box=None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for level in ("clip", "video"):
        for key in known:
            table.add_column(f"{level}\n{HEADINGS[key]}", no_wrap=True, justify="right")
    for name in [*(name for name in clips if name != ENSEMBLE), ENSEMBLE]:
        values = [of[name][key] for of in (clips, videos) for key in known]
        table.add_row(name, *map(_cell, values))
    console.print(table)


def print_combinations(report: dict[str, Any]) -> None:
    """A table of all combinations of members; of many the best."""
    combinations = report["combinations"]
    if not combinations:
        if (members := len(report["video_level"]) - 1) > MOST_MEMBERS:
            console.print(f"combinations: of {members} members too many, at most {MOST_MEMBERS}")
        return
    headings = {
        key: text for key, text in _TOLD.items() if key in next(iter(combinations.values()))
    }
    shown, title = combinations, "combinations of members"
    if len(combinations) > _MOST_COMBINATIONS:
        by = list(headings)[2]
        best = sorted(combinations, key=lambda name: -(combinations[name][by] or 0))
        shown = {name: combinations[name] for name in best[:_MOST_COMBINATIONS]}
        title = f"the best {len(shown)} of {len(combinations)} {title}, by {headings[by]}"
    console.print(_metrics_table(title, headings, [shown]))


def _metrics_table(
    title: str, headings: Mapping[str, str], sections: Sequence[Mapping[str, Metrics]]
) -> Table:
    """Numbers across, names down."""
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))  # it fits into 80 columns
    table.add_column("", overflow="fold")
    for heading in headings.values():
        table.add_column(heading.replace(" ", "\n"), no_wrap=True)
    for section in sections:
        for name, values in section.items():
            table.add_row(name, *(_cell(values[key]) for key in headings))
        table.add_section()
    return table


def _cell(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _confusion_table(confusion: Mapping[str, Mapping[str, int]]) -> Table:
    """How many videos of each class the ensemble called what."""
    table = Table(title=f"{ENSEMBLE}: labels down, verdicts across", box=None)
    table.add_column("")
    for called in next(iter(confusion.values())):
        table.add_column(Text(printable(called)), justify="right")
    for label, row in confusion.items():
        table.add_row(Text(printable(label)), *(str(count) for count in row.values()))
    return table


def print_statistics(report: Mapping[str, Any]) -> None:
    """How sure the figure is that sources are compared by, and how the ensemble does."""
    _print_compared(report, ENSEMBLE)
    for attribute, groups in report["statistics"]["groups"].items():
        if gap := groups["gap"]:
            console.print(
                f"  by {attribute}: {printable(gap['best'])} and {printable(gap['worst'])} are "
                f"{gap['difference']:.3f} apart {_range(gap)}",
                markup=False,
            )


def print_comparison(found: Mapping[str, Any]) -> None:
    """The ensembles of several runs, and how the first does beside the others."""
    level = found["video_level"]
    first = next(iter(level))
    headings = {key: text for key, text in HEADINGS.items() if key in level[first]}
    console.print(_metrics_table("video level, ensembles", headings, [level]))
    _print_compared(found, first)


def _print_compared(report: Mapping[str, Any], whole: str) -> None:
    statistics = report["statistics"]
    people, by = statistics["people"], statistics["compared_by"]
    if by is None:
        return
    note = f"; {people['note']}" if people["note"] else ""
    console.print(
        f"{HEADINGS.get(by, by)} with {people['level']:.0%} intervals, over {people['count']} "
        f"people{note}",
        markup=False,
    )
    value = report["video_level"][whole][by]
    if value is not None:
        bounds = _range(statistics["intervals"][whole][by])
        console.print(f"  {whole}: {value:.3f} {bounds}", markup=False)
    for name, found in statistics["compared"].items():
        test = found["mcnemar"]
        alone = f"right alone {test['first_alone']} : {test['second_alone']}"
        console.print(
            f"  {whole} - {name}: {_signed(found['difference'])} {_range(found)}"
            f"{_p(found['p'])}; {alone}{_p(test['p'])}",
            markup=False,
        )


def _signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return ", p < .001" if value < 0.001 else f", p {value:.3f}"


def _range(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"(no interval: {found['why']})"
    return f"({found['low']:.3f} to {found['high']:.3f})"


def print_counts(run: RunDirectory, totals: dict[str, Any]) -> None:
    """The sums and where the tables are."""
    left = totals["videos_beyond_trial"]
    console.print(
        f"videos in: {totals['videos']} = {totals['verdicts']} verdicts "
        f"+ {totals['videos_in_findings']} in findings"
        + (f"; {left} more are left out of this trial" if left else "")
    )
    for name, ends in totals["predictions"].items():
        parts = ", ".join(f"{count} {status}" for status, count in ends.items() if count)
        console.print(f"  {name}: {sum(ends.values())} clip answers expected: {parts or 'none'}")
    console.print(f"tables: {run.uri}/{{videos,clips,predictions,verdicts,findings}}")
