from pathlib import Path

import pytest

from ah_ray.catalog import CatalogEntry, compare_with_published, load_entry, read_catalog
from ah_ray.catalog.rows import Catalog, video_row
from ah_ray.errors import ConfigError
from ah_ray.tasks.answers import Choice

DATA_CATALOG = Path(__file__).parents[2] / "data_catalog"
YES_NO = Choice(kind="choice", options=("Yes", "No"))


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
        ("title: t\nreader: table\nlicense: mine", "did you mean licence"),
        ("title: t\nreader: table\nconsent: [a]", "consent"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        load_entry(write(tmp_path, text))


def of_ones_own(entry, root, answer) -> Catalog:
    return Catalog([video_row(entry.title, root, labels=answer.meant("1"))], [])


def test_a_reader_of_ones_own():
    entry = CatalogEntry(title="t", reader=f"{__name__}:of_ones_own")
    (video,) = read_catalog(entry, "/x", YES_NO).videos
    assert (video["video_id"], video["uri"], video["labels"]) == ("t", "/x", ["Yes"])


@pytest.mark.parametrize("reader", ["film", "none_such:read", f"{__name__}:none_such"])
def test_a_reader_that_is_not_there_names_those_that_are(reader):
    with pytest.raises(ConfigError) as caught:
        read_catalog(CatalogEntry(title="t", reader=reader), "/x", YES_NO)
    assert caught.value.where == "reader"
    assert (
        "one of ['bah', 'elan', 'folder', 'lists', 'table'], or module:attribute"
        in caught.value.fix
    )


def test_an_unquoted_word_for_a_label_is_a_word(tmp_path):
    entry = load_entry(write(tmp_path, "title: t\nreader: table\nlabels: {1: smile, No: Yes}"))
    assert entry.labels == {"1": "smile", "No": "Yes"}


def test_differences_to_the_published_sizes():
    expected = {"videos": 3, "participants": 2, "splits": {"train": {"positives": 2, "videos": 2}}}
    entry = CatalogEntry(title="t", reader="table", expected=expected)
    said = (frozenset({"No"}), frozenset({"Yes"}))
    videos = [video_row(str(n), "u", "p", "train", labels) for n, labels in enumerate(said)]
    assert compare_with_published(entry, videos, ("Yes", "No")) == [
        "all: 2 videos, published are 3 (-1)",
        "all: 1 participants, published are 2 (-1)",
        "train: 1 positives, published are 2 (-1)",
    ]
    nothing = CatalogEntry(title="t", reader="table")
    assert compare_with_published(nothing, videos, ("Yes", "No")) == []
