from pathlib import Path

import pytest

from ah_ray.catalog import CatalogEntry, compare_with_published, load_entry
from ah_ray.catalog.rows import video_row
from ah_ray.errors import ConfigError

DATA_CATALOG = Path(__file__).parents[2] / "data_catalog"


@pytest.mark.parametrize("path", sorted(DATA_CATALOG.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_entry_of_the_repository_loads(path):
    assert load_entry(path).title


def test_published_splits_add_up_to_the_whole():
    expected = load_entry(DATA_CATALOG / "bah.yaml").expected
    for size in ("videos", "participants", "positives"):
        parts = [getattr(split, size) for split in expected.splits.values()]
        assert sum(parts) == getattr(expected, size)


def write(tmp_path, text):
    path = tmp_path / "entry.yaml"
    path.write_text(text)
    return path


def test_an_unquoted_flag_is_a_word(tmp_path):
    entry = load_entry(write(tmp_path, "title: t\nreader: table\nconsent: {a: Yes, b: 'No'}"))
    assert entry.consent == {"a": "Yes", "b": "No"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title: t\nreader: bah", "files are needed"),
        ("title: t\nreader: folder\nfiles: {annotations: a, splits: b}", "files are needed"),
        ("title: t\nreader: folder\nconsent: {a: Yes}", "use the reader table"),
        ("title: t\nreader: film", "reader"),
        ("title: t\nreader: table\nlicense: mine", "did you mean licence"),
        ("title: t\nreader: table\nconsent: [a]", "consent"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        load_entry(write(tmp_path, text))


def test_differences_to_the_published_sizes():
    expected = {"videos": 3, "participants": 2, "splits": {"train": {"positives": 2, "videos": 2}}}
    entry = CatalogEntry(title="t", reader="table", expected=expected)
    labels = (frozenset({"No"}), frozenset({"Yes"}), None)
    videos = [video_row(str(n), "u", "p", "train", said) for n, said in enumerate(labels)]
    videos = videos[:2]
    assert compare_with_published(entry, videos, ("Yes", "No")) == [
        "all: 2 videos, published are 3 (-1)",
        "all: 1 participants, published are 2 (-1)",
        "train: 1 positives, published are 2 (-1)",
    ]
    nothing = CatalogEntry(title="t", reader="table")
    assert compare_with_published(nothing, videos, ("Yes", "No")) == []
