"""The page of a report: one file that asks nobody for anything.

What is from data is escaped by Jinja, or is text that scripts put where no markup is read. Tables
are DataTables (MIT), as the package ``itables`` carries it; plots are SVG in the page.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ah_ray.config import ENSEMBLE
from ah_ray.evaluation.metrics import HEADINGS
from ah_ray.lineage import fingerprint
from ah_ray.names import Named
from ah_ray.report.plots import SERIES
from ah_ray.schemas import Row

_HERE = Path(__file__).parent
_TEMPLATE, _STYLE, _SCRIPT = "page.html.j2", "page.css", "page.js"
_WIDGET = "itables"  # the package that carries DataTables
_MADE_FROM = re.compile(rb'<meta name="made-from" content="([0-9a-f]+)">')


def render(page: Mapping[str, Any]) -> str:
    """The page as HTML.

    Args:
        page: what ``pipelines.report`` gathers.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "figure": _figure,
        "rule": _rule,
        "span": _span,
        "time": _time,
        "stamp": _stamp,
    }
    data = {
        "columns": _columns(page),
        **{key: page[key] for key in ("rows", "timelines", "texts", "pictures", "options")},
        "members": [member["name"] for member in page["members"]],
    }
    library = base64.b64encode(_widget("dt_bundle.js").encode()).decode()
    return environment.get_template(_TEMPLATE).render(
        page,
        data=data,
        made_at=datetime.now(UTC),
        headings=_headings(page.get("metrics")),
        titles=HEADINGS,
        ensemble=ENSEMBLE,
        series=SERIES,
        imports={"imports": {"datatables": f"data:text/javascript;base64,{library}"}},
        styles=Markup(_widget("dt_bundle.css") + _read(_STYLE)),
        script=Markup(_read(_SCRIPT)),
    )


def made_by() -> str:
    """A fingerprint of what makes the page of data."""
    own = [_read(name) for name in (_TEMPLATE, _STYLE, _SCRIPT)]
    return fingerprint(own, distribution(_WIDGET).version)


def stated_made_from(html: bytes) -> str | None:
    """What a page says that it is made from; None when it does not say."""
    found = _MADE_FROM.search(html)
    return found and found[1].decode()


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _widget(name: str) -> str:
    """A file of DataTables."""
    file = distribution(_WIDGET).locate_file(f"{_WIDGET}/html/{name}")
    return Path(str(file)).read_text(encoding="utf-8")


def _columns(page: Mapping[str, Any]) -> list[dict[str, str]]:
    """The columns of the table of videos: those in which there is anything to see."""
    options, rows = page["options"], page["rows"]
    chance = f"P({options[0]})" if len(options) == 2 else "chance"
    columns = {
        "video": ("video", "text"), "verdict": ("verdict", "choice"), "chance": (chance, "number"),
        "by": ("given by", "choice"), "truth": ("label", "choice"),
        "right": ("right", "choice") if options else ("shared", "number"),
        "at": ("where", "text"), "person": ("person", "text"), "split": ("split", "choice"),
        "status": ("status", "choice"),
    }  # fmt: skip
    told = {key: {row.get(key) for row in rows} for key in columns}
    seen = {key for key, values in told.items() if values - {None, ""}}
    # What is the same for all is no column: whose split it is, and that all went well.
    seen -= {key for key in ("split", "status") if len(told[key]) < 2}
    if not page["votes"]:
        seen -= {"verdict", "right", "by"}
    return [
        {"data": key, "title": title, "kind": kind}
        for key, (title, kind) in columns.items()
        if key in seen
    ]


def _headings(metrics: Row | None) -> dict[str, str]:
    """The metrics that the table shows, and how they are called."""
    known: Sequence[str] = list(metrics["video_level"][ENSEMBLE]) if metrics else ()
    return {key: title for key, title in HEADINGS.items() if key in known}


def _figure(value: Any) -> str:
    """A number of a table."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "\N{EN DASH}" if value is None else f"{value:,}" if isinstance(value, int) else value


def _span(found: Mapping[str, Any]) -> str:
    """An interval of a table; nothing where there is none."""
    if found.get("low") is None:
        return ""
    between = " to " if found["low"] < 0 else "\N{EN DASH}"
    return f"{found['low']:.2f}{between}{found['high']:.2f}"


def _rule(name: Named) -> str:
    """A rule as people read it.

    >>> _rule("first"), _rule({"at_least": 2})
    ('first', 'at_least 2')
    """
    parts = name.items() if isinstance(name, Mapping) else [(name, "")]
    return ", ".join(f"{key} {value}".strip() for key, value in parts)


def _time(seconds: float) -> str:
    """A duration for people.

    >>> _time(3.21), _time(75), _time(7384)
    ('3.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
