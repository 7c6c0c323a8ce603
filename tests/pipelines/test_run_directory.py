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


@pytest.mark.parametrize("stated", [0, 1, FORMAT + 1, str(FORMAT), None, "absent"])
def test_a_run_of_another_format_is_refused_before_anything_is_read_or_written(
    run, tmp_path, stated
):
    """A run that states none is of the first one."""
    write(run, archive="a", **({} if stated == "absent" else {"format": stated}))
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    for use in (lambda: open_run(run.uri), lambda: run.remember({"limit": 3}), run.settings):
        with pytest.raises(ConfigError, match=f"format {FORMAT}") as caught:
            use()
        assert caught.value.where == f"{run.path('run.yaml')}: format"
        assert f"is {1 if stated == 'absent' else stated!r}, " in str(caught.value)
        assert "the version that made the run" in caught.value.fix
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
