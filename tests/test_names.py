import collections
import sys

import pytest

from ah_ray.errors import ConfigError
from ah_ray.names import find, find_made

TABLE = {"one": 1, "two": 2}


def test_a_name_of_the_table_or_of_a_module():
    assert find("two", TABLE, "k") == 2
    assert find("collections:OrderedDict", TABLE, "k") is collections.OrderedDict
    assert find("collections:OrderedDict.fromkeys", TABLE, "k")("a") == {"a": None}


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("three", "there is no 'three'"),
        ("collections", "there is no 'collections'"),  # a module is no thing that is named
        ("collections:", "there is no"),
        (":x", "there is no"),
        ("", "there is no"),
        ("none_such:x", "No module named 'none_such'"),
        ("collections.none:x", "No module named 'collections.none'"),
        ("collections:none", "no attribute 'none'"),
        ("not a name:x", "cannot be loaded"),
        ("collections:a-b", "cannot be loaded"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(name, named):
    with pytest.raises(ConfigError) as caught:
        find(name, TABLE, "score.engine")
    assert caught.value.where == "score.engine"
    assert named in caught.value.problem
    assert "one of ['one', 'two'], or module:attribute" in caught.value.fix


def test_a_module_that_does_not_load_says_why(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_installed_here.inside\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="No module named 'not_installed_here'") as caught:
        find("needs_more:Engine", TABLE, "k")
    assert caught.value.fix.startswith("install not_installed_here")


@pytest.mark.parametrize("imported", ["vllm", "transformers.models"])
def test_a_module_that_needs_an_extra_says_which(tmp_path, monkeypatch, imported):
    name = f"needs_{imported.partition('.')[0]}"
    (tmp_path / f"{name}.py").write_text(f"import {imported}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, imported, None)
    with pytest.raises(ConfigError, match=f"{imported}") as caught:
        find(f"{name}:Engine", TABLE, "k")
    assert caught.value.fix.startswith("install ah-ray with its extra cpu")


MAKERS = {"times": lambda factor: factor * 2, "strict": lambda *, key: key}


def test_a_thing_of_the_table_or_one_that_is_made():
    assert find_made("two", TABLE, MAKERS, "k") == 2
    assert find_made("collections:OrderedDict", TABLE, MAKERS, "k") is collections.OrderedDict
    assert find_made({"times": 3}, TABLE, MAKERS, "k") == 6
    assert find_made({"times": "a"}, TABLE, MAKERS, "k") == "aa"
    assert find_made({"operator:itemgetter": 1}, TABLE, MAKERS, "k")("abc") == "b"


@pytest.mark.parametrize(
    ("named", "problem", "fix"),
    [
        ("three", "there is no 'three'", "one of ['one', 'two']"),
        ("times", "times needs an argument", "write {times: ...}"),
        ({"one": 1}, "one takes no argument", "write one alone"),
        ({"none": 1}, "there is no 'none'", "one of ['strict', 'times']"),
        ({}, "{} is no name", "write a name, or {name: argument}"),
        ({"times": 1, "strict": 2}, "is no name", "write a name, or {name: argument}"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(named, problem, fix):
    with pytest.raises(ConfigError) as caught:
        find_made(named, TABLE, MAKERS, "rules.clips")
    assert caught.value.where == "rules.clips"
    assert problem in caught.value.problem
    assert fix in caught.value.fix


@pytest.mark.parametrize("named", [{"strict": 1}, {"times": None}, {"math:pi": 1}])
def test_an_argument_that_does_not_fit_is_named(named):
    with pytest.raises(ConfigError) as caught:
        find_made(named, TABLE, MAKERS, "rules.clips")
    ((name, argument),) = named.items()
    assert caught.value.where == f"rules.clips.{name}"
    assert caught.value.problem.startswith(f"{argument!r}: ")
