"""A picture of what combinations of members gain in recall and lose in precision."""

from __future__ import annotations

import io
from collections.abc import Mapping

from ah_ray.evaluation.judged import Metrics


def trade_off(combinations: Mapping[str, Metrics]) -> bytes | None:
    """Precision over recall of all combinations, as SVG; None where none has both.

    Of a task with several metrics, by the first one that has both. Named are the members, all of
    them together, and those combinations that no other one surpasses in both.

    Args:
        combinations: their metrics by name; the last is all members together.
    """
    keys = [key for values in combinations.values() for key in values if key.endswith("precision")]
    if not keys:
        return None
    part = keys[0].removesuffix("precision")
    points = {
        name: (values[f"{part}recall"], values[f"{part}precision"])
        for name, values in combinations.items()
    }
    points = {name: point for name, point in points.items() if None not in point}
    if not points:
        return None
    # They take a second, which every command would wait for.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "trade-off"}):  # text, equal bytes
        figure = Figure(figsize=(7, 6), layout="constrained")
        axes = figure.add_subplot(
            xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02)
        )
        by = next(iter(combinations.values())).get("by", {}).get(part.rstrip("_"))
        told = f", {part.rstrip('_')} by {by['groups']}" if by else ""
        axes.set_title(f"combinations of members{told}", parse_math=False)
        axes.grid(alpha=0.3)
        for name, (recall, precision) in points.items():
            alone = "+" not in name
            axes.plot(recall, precision, "s" if alone else "o", color="C0" if alone else "C1")
            if alone or name == list(combinations)[-1] or not _surpassed(name, points):
                axes.annotate(
                    name, (recall, precision), xytext=(5, 4), textcoords="offset points",
                    fontsize="small", parse_math=False,
                )  # fmt: skip
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _surpassed(name: str, points: Mapping[str, tuple[float, float]]) -> bool:
    """Whether some combination is better in one and no worse in the other."""
    recall, precision = points[name]
    return any(
        r >= recall and p >= precision and (r, p) != points[name] for r, p in points.values()
    )
