import io
import subprocess
import sys
import tracemalloc

import pytest

from ah_ray.catalog.bah_yaml import read_annotations
from ah_ray.errors import ConfigError


def load(text: str) -> list:
    return list(read_annotations(io.BytesIO(text.encode()), "a.yaml"))


def test_tuples_are_read_and_long_lists_are_not():
    text = """
    Videos/1/a.mp4:
      transcript: {chunks: [{timestamp: !!python/tuple [0.5, null]}]}
      frame_annotation: [[Videos/1/a.mp4/frame-0.jpg, 1], [Videos/1/a.mp4/frame-1.jpg, 0]]
      fr_detailed_ah:
      - [1, 2]
      global_ah: 1
    """
    assert load(text) == [
        (
            "Videos/1/a.mp4",
            {
                "transcript": {"chunks": [{"timestamp": (0.5, None)}]},
                "frame_annotation": None,
                "fr_detailed_ah": None,
                "global_ah": 1,
            },
        )
    ]


@pytest.mark.parametrize("value", ["1", "null", "[]", "{}", "[[{a: [b]}], {c: {d: e}}]"])
def test_a_skipped_value_may_have_any_shape(value):
    text = f"a: {{frame_annotation: {value}, global_ah: 0}}\nb: {{global_ah: 1}}"
    assert [v["global_ah"] for _, v in load(text)] == [0, 1]


def test_an_alias_may_point_into_a_skipped_list():
    text = "a: {frame_annotation: [[x, &one 1], &list [1, 2]], global_ah: *one, other: *list}"
    ((_, value),) = load(text)
    assert (value["global_ah"], value["other"]) == (1, [1, 2])


def test_duplicate_keys_all_come_through():
    assert load("a: {x: 1}\na: {x: 2}") == [("a", {"x": 1}), ("a", {"x": 2})]


@pytest.mark.parametrize("text", ["", "{}"])
def test_an_empty_file_has_no_entries(text):
    assert load(text) == []


def test_what_is_no_mapping_is_an_empty_entry():
    assert load("a:\nb: [1]\nc: text") == [("a", {}), ("b", {}), ("c", {})]


@pytest.mark.parametrize(
    "text",
    [
        "a: {x: !!python/object/apply:os.system ['touch {path}']}",
        "a: {x: !!python/object/new:os.system ['touch {path}']}",
        "a: {x: !!python/name:os.system ''}",
        "a: {x: !!python/tuple {not: a list}}",
        "a: !!python/object/apply:os.system {x: 'touch {path}'}",
        "- a list",
        "a: {x: [1, 2}",
        "a: {x: *nothing}",
        "a: {x: 1}\n---\nb: {x: 1}",
        "a: {x: 2024-13-32}",
        "a: {x: " + "[" * 2000 + "]" * 2000 + "}",
        "? [a, b]\n: {x: 1}",
        "a: {x: 2024-01-01T00:00:00+99:99}",
        # Keys that are there twice, or no plain values.
        "a: {global_ah: 0, global_ah: 1}",
        "a: {x: {y: 0, y: 1}}",
        "a: {x: {[1]: 2}}",
        "a: {x: {!!python/tuple [1, [2]]: 2}}",
        "a: {x: !!set {? !!python/tuple [1]}}",
        # What is passed over may not ask for objects either.
        "a: {frame_annotation: !!python/object/apply:os.system ['touch {path}']}",
        "a: {frame_annotation: [[x, !!python/name:os.system '']]}",
        "a: {fr_detailed_ah: [!unheard of]}",
        # Halves of characters.
        'a: {x: "\\ud800"}',
    ],
)
def test_objects_and_broken_files_are_refused(text, tmp_path):
    path = tmp_path / "touched"
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        load(text.replace("{path}", str(path)))
    assert not path.exists()


def merges(levels: int) -> str:
    """A small file that means 4 ** levels pairs."""
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 4)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


def keys(levels: int) -> str:
    """A small file whose key takes 2 ** levels steps to hash."""
    lines = ["x0: &x0 !!python/tuple [1]"]
    for n in range(1, levels):
        lines.append(f"x{n}: &x{n} !!python/tuple [*x{n - 1}, *x{n - 1}]")
    return "\n".join([*lines, f"a: {{b: {{*x{levels - 1} : 1}}}}"])


@pytest.mark.parametrize("text", [merges(12), keys(60)], ids=["merges", "keys"])
@pytest.mark.timeout(20)
def test_a_small_file_that_means_a_large_one_is_refused_at_once(text):
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        load(text)


def test_without_libyaml_the_result_is_the_same():
    # A fresh interpreter, so that the loader of this one stays as it is.
    code = (
        "import io, yaml; del yaml.CSafeLoader\n"
        "from ah_ray.catalog import bah_yaml\n"
        "assert bah_yaml._SafeLoader is yaml.SafeLoader\n"
        "text = b'a: {frame_annotation: [[x, 0]], t: !!python/tuple [1, null], u: 0:01.5}'\n"
        "print(list(bah_yaml.read_annotations(io.BytesIO(text), 'a.yaml')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('a', {'frame_annotation': None, 't': (1, None), 'u': 1.5})]"


def test_memory_does_not_grow_with_the_frames():
    def peak(frames: int) -> int:
        label = "  - - Videos/1/a.mp4/frame-12345.jpg\n    - 0\n"
        stream = io.BytesIO(b"a:\n  global_ah: 1\n  frame_annotation:\n" + label.encode() * frames)
        tracemalloc.start()
        try:
            assert list(read_annotations(stream, "a.yaml")) == [
                ("a", {"global_ah": 1, "frame_annotation": None})
            ]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(10_000) < peak(100) + 100_000  # bytes; the text of 10,000 frames is 470,000
