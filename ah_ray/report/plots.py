"""Plots of a report as SVG that takes its colours from the page, so that they follow its theme."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ah_ray.config import ENSEMBLE

_ABREAST = 4  # names in a line of a legend
SERIES = 8  # colours of members; the page names them --series-0 and so on
# Colours that matplotlib writes, and what the page calls them in their place.
_INK, _FAINT, _STRONG = "#010101", "#020202", "#030303"
_OF_SERIES = [f"#0404{place:02x}" for place in range(SERIES)]
_NO_METADATA = dict.fromkeys(["Creator", "Date", "Format", "Type"])
_IN_PAGE = {_INK: "var(--ink)", _FAINT: "var(--line)", _STRONG: "var(--accent)"} | {
    colour: f"var(--series-{place})" for place, colour in enumerate(_OF_SERIES)
}


def precision_recall(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], share: float
) -> Markup:
    """Precision over recall of every source.

    Args:
        curves: recall and precision, by source.
        share: of the videos that have what is looked for: the precision of guessing.
    """
    with _axes("recall", "precision") as (axes, svg):
        axes.axhline(share, color=_INK, linestyle=":", linewidth=1, alpha=0.6)
        for name, (recall, precision), style in _styled(curves):
            axes.step(recall, precision, where="pre", label=name, **style)
    return svg[0]


def reliability(bins: Mapping[str, Sequence[Mapping[str, float]]]) -> Markup:
    """How often what is said with some chance is true, of every source.

    Args:
        bins: as ``evaluation.calibration.reliability`` has them, by source.
    """
    with _axes("chance that is given", "share that is true") as (axes, svg):
        axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1, alpha=0.6)
        for name, of, style in _styled(bins):
            axes.plot(
                [one["chance"] for one in of], [one["share"] for one in of],
                marker="o", markersize=4, label=name, **style,
            )  # fmt: skip
    return svg[0]


def abstention(points: Mapping[str, Sequence[Mapping[str, float]]]) -> Markup:
    """Accuracy where only the surest answers are given, of every source.

    Args:
        points: as ``evaluation.calibration.abstention`` has them, by source.
    """
    least = min((one["accuracy"] for of in points.values() for one in of), default=0.0)
    with _axes("share of the videos that is answered", "right among them") as (axes, svg):
        axes.set_ylim(max(0.0, least - 0.1), 1.02)
        for name, of, style in _styled(points):
            axes.plot(
                [one["coverage"] for one in of], [one["accuracy"] for one in of],
                label=name, **style,
            )  # fmt: skip
    return svg[0]


def histogram(parts: Mapping[str, npt.NDArray[np.int64]], of: str) -> Markup:
    """How many videos have which chance of an option.

    Args:
        parts: counts from chance 0 to 1, by what the videos have in common; one upon the other.
        of: the option.
    """
    with _axes(f"chance of {of}", "videos") as (axes, svg):
        below = np.zeros(len(next(iter(parts.values()))))
        edges = np.linspace(0, 1, len(below) + 1)
        for place, (name, counts) in enumerate(parts.items()):
            colour = _STRONG if place == 0 else _OF_SERIES[place % SERIES]
            axes.bar(
                edges[:-1], counts, np.diff(edges) * 0.9, below, align="edge",
                color=colour, label=name,
            )  # fmt: skip
            below = below + counts
        axes.set_ylim(0, max(1, below.max()) * 1.1)
    return svg[0]


def gate(means: Mapping[str, Mapping[str, float]], of: str) -> Markup:
    """The mean weight of an expert for what is shown, of every member that has it.

    Args:
        means: by member and by label.
        of: the expert.
    """
    labels = list(dict.fromkeys(label for each in means.values() for label in each))
    with _axes("label", f"mean weight of {of}") as (axes, svg):
        axes.axhline(0.5, color=_INK, linestyle=":", linewidth=1, alpha=0.6)
        for name, each, style in _styled(means):
            known = [place for place, label in enumerate(labels) if label in each]
            axes.plot(known, [each[labels[place]] for place in known],
                      marker="o", label=name, **style)  # fmt: skip
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 6 else 0)
    return svg[0]


def _styled(sources: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each source with how it is drawn: members in colours, all of them together on top."""
    for place, (name, of) in enumerate(sources.items()):
        together = name == ENSEMBLE
        colour = _STRONG if together else _OF_SERIES[place % SERIES]
        yield name, of, {"color": colour, "linewidth": 2.4 if together else 1.4,
                         "zorder": 3 if together else 2}  # fmt: skip


@contextmanager
def _axes(across: str, up: str) -> Iterator[tuple[Any, list[Markup]]]:
    """Axes to draw on, and a list that has the picture afterwards."""
    # They take a second, which every command would wait for.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none", "svg.hashsalt": f"{across} {up}", "font.size": 10,
        "font.family": "sans-serif",
        "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _FAINT,
        "xtick.color": _INK, "ytick.color": _INK, "grid.color": _FAINT,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "legend.fontsize": 9, "path.simplify_threshold": 0.5, "text.parse_math": False,
    }  # fmt: skip
    svg: list[Markup] = []
    with rc_context(style):
        figure = Figure(figsize=(4.6, 3.6), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.patch.set_visible(False)
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        yield axes, svg
        if len(axes.get_legend_handles_labels()[1]) > 1:
            figure.legend(loc="outside upper left", ncols=_ABREAST)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=_NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]  # what is before is for files
    for colour, name in _IN_PAGE.items():
        text = text.replace(colour, name)
    svg.append(Markup(text))  # matplotlib has escaped what is from data
