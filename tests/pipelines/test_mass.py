"""A warning for members that would rather have said something else."""

from pathlib import Path

import pyarrow as pa
import pytest

from ah_ray import schemas, storage, tables
from ah_ray.pipelines.mass import low_mass, note_mass
from ah_ray.pipelines.run_directory import RunDirectory


def predicted(run: RunDirectory, member: str, masses: list[float | None]) -> None:
    rows = [{"clip_id": str(n), "mass": mass} for n, mass in enumerate(masses)]
    path = storage.join(run.predictions_path(member), "part-0.parquet")
    tables.write_rows(rows, schemas.PREDICTIONS, path)


def test_a_member_that_would_say_something_else_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    predicted(run, "tuned", [0.9, 1.0, 0.1])
    predicted(run, "raw", [1e-6, 0.3, 0.7, None])
    predicted(run, "prior", [None, None])
    names = ["tuned", "raw", "prior", "unscored"]
    note_mass(run, names)
    (row,) = tables.read_table(run.findings_path("score"), schemas.FINDINGS).to_pylist()
    assert (row["item_id"], row["severity"], row["kind"]) == ("raw", "warning", "low_mass")
    assert "in 2 of 3 answers" in row["message"]
    assert "warning raw: in 2 of 3 answers" in " ".join(capsys.readouterr().out.split())
    predicted(run, "raw", [0.9])  # trained by now
    note_mass(run, names)
    assert not storage.list_files(run.findings_path("score"))


def test_half_is_enough() -> None:
    assert low_mass(pa.chunked_array([[0.5]])) is None
    assert low_mass(pa.chunked_array([[0.49]])) is not None
    assert low_mass(pa.chunked_array([[]], pa.float64())) is None
