"""The run directory: the format of its tables."""

import pytest
import yaml

from ah_ray import storage
from ah_ray.errors import ConfigError
from ah_ray.pipelines.opening import open_run
from ah_ray.pipelines.run_directory import FORMAT, RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory.at(str(tmp_path / "run"))


def write(run, **noted):
    storage.write_bytes(run.path("run.yaml"), yaml.safe_dump(noted).encode())


def test_a_run_states_its_format_with_the_first_note(run):
    assert run.settings() == {}
    run.remember({"archive": "a"})
    assert run.settings() == {"archive": "a", "format": FORMAT}


def test_a_run_without_a_format_is_of_the_first_one(run):
    write(run, archive="a")
    assert open_run(run.uri).settings() == {"archive": "a"}
    run.remember({"limit": 3})
    assert run.settings() == {"archive": "a", "limit": 3, "format": FORMAT}


@pytest.mark.parametrize("format", [0, FORMAT + 1, "2", None])
def test_a_run_of_another_format_is_refused_before_anything_is_read_or_written(
    run, tmp_path, format
):
    write(run, archive="a", format=format)
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    for use in (lambda: open_run(run.uri), lambda: run.remember({"limit": 3}), run.settings):
        with pytest.raises(ConfigError, match=f"format {FORMAT}") as caught:
            use()
        assert caught.value.where == f"{run.path('run.yaml')}: format"
        assert repr(format) in str(caught.value)
    assert (tmp_path / "run" / "run.yaml").read_bytes() == before


@pytest.mark.parametrize("damaged", [b"", b"- a\n", b"archive: [a\n", b"format: 1\nformat: 2\n"])
def test_notes_that_are_none_are_named_and_left_alone(run, damaged):
    path = run.path("run.yaml")
    storage.write_bytes(path, damaged)
    for use in (lambda: open_run(run.uri), lambda: run.remember({"limit": 3})):
        with pytest.raises(ConfigError) as caught:
            use()
        assert caught.value.where == path
    assert storage.read_bytes(path) == damaged
