"""Small YAML files that mean large things end with a clear error, at once."""

import pytest

from ah_ray.catalog.entry import parse_entry
from ah_ray.errors import ConfigError
from ah_ray.yaml_objects import parse_yaml, with_overrides

pytestmark = pytest.mark.timeout(20)


def chain(first: str, link: str, levels: int = 30) -> str:
    """Lines of which each names the one before nine times: 9 ** levels values."""
    lines = [f"x0: &x0 {first}"]
    lines += [f"x{n}: &x{n} {link.format(', '.join([f'*x{n - 1}'] * 9))}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (chain("[1]", "[{}]"), "aliases mean more than 10,000 values"),
        (chain("{a: 1}", "{{<<: [{}]}}"), "aliases mean more than 10,000 values"),
        ("a: &a [*a]", "an alias is inside of what it names"),
        ("a: &a {b: *a}", "an alias is inside of what it names"),
        ("a: 1\na: 2", "the key 'a' is there twice"),
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' is there twice"),
        ("a: {[1]: 2}", "a key is no plain value"),
        ("a: 2024-13-32", "is no YAML"),
        ("a: " + "[" * 3000 + "]" * 3000, "is no YAML"),
        ('a: "\\ud800"', "is no YAML"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML"),
        ("a: " + "9" * 5000, "is no YAML"),
    ],
    ids=lambda value: value[:20],
)
def test_what_no_file_of_ours_may_hold(text, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_yaml(text.encode(), "a.yaml")
    assert len(str(caught.value)) < 2000


def test_aliases_and_merge_keys_of_reasonable_size_are_read():
    text = "base: &base {a: 1, b: [1, 2]}\nmore: {<<: *base, a: 2}\nagain: [*base, *base]"
    base = {"a": 1, "b": [1, 2]}
    assert parse_yaml(text.encode(), "a.yaml") == {
        "base": base,
        "more": {"a": 2, "b": [1, 2]},
        "again": [base, base],
    }


def test_a_large_file_without_aliases_is_read():
    text = "a: [" + "1," * 11_000 + "]"
    assert len(parse_yaml(text.encode(), "a.yaml")["a"]) == 11_000


def test_what_a_wrong_value_was_is_told_in_short():
    with pytest.raises(ConfigError, match="title") as caught:
        parse_entry(b"title: [" + b"1," * 5_000 + b"]\nreader: table", "a.yaml")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ["2024-13-32", "[", "9" * 5000])
def test_a_setting_that_is_no_yaml_is_told(value):
    with pytest.raises(ConfigError, match="quotation marks"):
        with_overrides({}, [f"a={value}"])
