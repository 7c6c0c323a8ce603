import re
from pathlib import Path

import pytest
import yaml

from ah_ray.catalog import CatalogEntry
from ah_ray.findings import KINDS, LEFT_OUT, note, shown
from ah_ray.schemas import SEVERITIES

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "archives.md").read_text()


def test_every_kind_has_a_severity_and_a_rule():
    assert {kind.severity for kind in KINDS.values()} == set(SEVERITIES)
    assert {kind.stage for kind in KINDS.values()} == {"catalog", "prepare", "train", "score"}
    assert all(kind.rule.startswith("left out") == kind.left_out for kind in KINDS.values())
    assert set(note("a", "bad_row", "b").values()) == {
        "a", "error", "bad_row", "b", KINDS["bad_row"].rule,
    }  # fmt: skip


def test_the_documentation_has_every_kind_as_it_is():
    documented = re.findall(r"^\| `(\w+)` \| (error|warning|info) \| (.*) \|$", DOCS, re.MULTILINE)
    assert documented == [(name, kind.severity, kind.rule) for name, kind in KINDS.items()]


def test_whatever_an_error_of_an_item_is_called_is_a_kind():
    package = ROOT / "ah_ray"
    sources = [*package.glob("media/*.py"), package / "pipelines" / "prepare_video.py"]
    raised = {
        kind for path in sources for kind in re.findall(r'ItemError\("(\w+)"', path.read_text())
    }
    assert raised >= {"missing", "unreadable"}
    assert raised <= LEFT_OUT


def test_entries_of_the_documentation_are_entries():
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)]
    entries = [CatalogEntry(**block) for block in blocks if "reader" in block]
    assert {entry.reader for entry in entries} == {"bah", "elan", "lists", "table"}


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, [[[["x"] * 99] * 99] * 99] * 99, 1 << 10**5],
    ids=["text", "lists", "number"],
)
def test_what_is_shown_of_a_value_has_an_end(value):
    assert len(shown(value)) < 10_000
