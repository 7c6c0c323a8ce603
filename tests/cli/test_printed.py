"""The command line in this process: what it says, plans and shows. No Ray, no model."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ah_ray import schemas, tables
from ah_ray.pipelines.results import evidence, opening_lines, span_text, strongest
from ah_ray.tasks import load_task
from ah_ray.tasks.policies import ReduceConfig

ROOT = Path(__file__).parents[2]


# What is printed


def test_the_version(ah_ray):
    assert ah_ray("--version") == (0, "ah-ray 0.1.0\n")


def test_help_is_not_cut_in_a_narrow_terminal(ah_ray, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    _, text = ah_ray("--help")
    assert "..." not in text.partition("Commands:")[2]
    assert "with --videos, also give the verdicts." in " ".join(text.split())


def test_quiet_leaves_results_and_errors(ah_ray, refused, run):
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--members", "v1,v2,v3"]
    options += ["--set", "segmentation.clip_s=5", "--set", "segmentation.min_tail_s=3"]
    _, loud = ah_ray("reduce", *options)
    code, quiet = ah_ray("reduce", *options, "--quiet")
    assert "videos to do" in loud
    assert (code, quiet) == (0, "")
    assert "mebers" in refused("reduce", *options, "-q", "--set", "mebers=1")


def test_verdicts_of_some_members_are_not_stale_for_it(ah_ray, run):
    run.remember({"ensemble": "members", "voters": ["v1", "v2", "v3"]})  # as after scoring
    options = ["--config", "jobs/demo.yaml", "--run", run.uri]
    assert "are not made from" in ah_ray("results", "--run", run.uri)[1]
    for members in ("v1,v3", "v1,v2,v3"):
        assert ah_ray("reduce", *options, "--members", members)[0] == 0
        assert "are not made from" not in ah_ray("results", "--run", run.uri)[1]


def test_what_was_found_is_shown_with_its_place_and_reasons(ah_ray, run):
    code, text = ah_ray("results", "--run", run.uri, "--top", 3)
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert " ".join(lines[0]).startswith("found in 4 videos: 2 Yes, 1 No, 1 undecided. The")
    assert lines[1:4] == [
        ["0.900", "Yes", "c.mp4", "00:00\N{EN DASH}00:02.5"],
        ["0.750", "Yes", "a.mp4", "00:12.5\N{EN DASH}00:15"],
        ["0.900", "No", "b.mp4", "00:02.5\N{EN DASH}00:05"],
    ]
    assert "error: 2 unreadable: left out: /archive/e.mp4: moov \\x1b[2J" in text


def test_of_more_options_the_first_come_first_and_of_each_the_likeliest(ah_ray, run):
    def row(name, label, **chances):
        considered = [{"label": option, "chance": chance, "evidence_clip_id": f"{name}0"}
                      for option, chance in chances.items()]  # fmt: skip
        return {"video_id": name, "uri": f"/archive/{name}.mp4", "considered": considered,
                "labels": label and [label], "status": "ok", "members": []}  # fmt: skip

    rows = [
        row("a", "dull", smile=0.05, frown=0.05, dull=0.9),
        row("b", "frown", smile=0.2, frown=0.5, dull=0.3),
        row("c", "frown", smile=0.1, frown=0.7, dull=0.2),
        row("d", None),
    ]
    tables.write_rows(rows, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))
    _, text = ah_ray("results", "--run", run.uri)
    lines = [line.split()[:3] for line in text.splitlines()]
    assert "found in 4 videos: 2 frown, 1 dull, 1 undecided." in text
    assert lines[1:5] == [
        ["0.700", "frown", "c.mp4"],
        ["0.500", "frown", "b.mp4"],
        ["0.900", "dull", "a.mp4"],
        ["-", "undecided", "d.mp4"],
    ]


def test_each_word_comes_with_who_gave_it_and_where(ah_ray, run):
    def row(name, labels, **said):
        considered = [{"label": word, "chance": len(members) / 3, "evidence_clip_id": clip,
                       "members": members} for word, (clip, *members) in said.items()]  # fmt: skip
        return {"video_id": name, "uri": f"/archive/{name}.mp4", "considered": considered,
                "labels": labels, "status": "ok", "members": []}  # fmt: skip

    glad, tired, odd = ["a5", "v1", "v3"], ["a0", "v2"], ["b1", "v1"]
    rows = [
        row("a", ["glad", "ti[red]"], **{"glad": glad, "odd": odd, "ti[red]": tired}),
        row("b", ["odd"], odd=odd, zen=["b1", "v1", "v2"]),
        row("c", [], glad=glad),
        row("d", None),
    ]
    tables.write_rows(rows, schemas.VERDICTS, run.path("verdicts", "part-0.parquet"))
    judgement = load_task("emotion_labels").judged(ReduceConfig())
    run.remember({"judgement": judgement.model_dump(mode="json")})
    _, text = ah_ray("results", "--run", run.uri)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("found in 4 videos: 1 glad, 1 odd, 1 ti[red], 1 nothing, 1 und")
    dash = "\N{EN DASH}"
    assert lines[1:8] == [
        "0.667 glad, ti[red] a.mp4",
        f"glad: v1, v3, 00:12.5{dash}00:15",
        f"ti[red]: v2, 00:00{dash}00:02.5",
        "0.333 odd b.mp4",
        f"odd: v1, 00:02.5{dash}00:05",
        "- nothing c.mp4",
        "- undecided d.mp4",
    ]


def test_files_are_named_within_an_archive_that_lies_in_the_run(ah_ray, run):
    run.remember({"archive": "archive"})  # as it is stored then, and the table with it
    verdicts = [
        row | {"uri": f"archive/{row['video_id']}.mp4"} for row in run.verdicts().to_pylist()
    ]
    path = run.path("verdicts", "part-0.parquet")
    tables.write_rows(verdicts, schemas.VERDICTS, path)
    _, text = ah_ray("results", "--run", run.uri)
    assert "0.900 Yes       c.mp4 00:00" in text


def test_the_lines_that_open_the_tables_work(ah_ray, run, capsys):
    _, text = ah_ray("results", "--run", run.uri)
    lines = opening_lines(run)
    assert [line.strip() for line in text.splitlines()[-len(lines) :]] == lines
    exec("\n".join(lines), {})
    printed = capsys.readouterr().out
    assert all(f"/archive/{name}.mp4" in printed for name in "abcd")
    assert {"[Yes]", "[No]", "undecided"} <= set(printed.split())


def test_every_table_opens_as_a_folder(run):
    import pandas
    import pyarrow.dataset as ds

    for table, key in (("clips", "purpose"), ("predictions", "member"), ("findings", "stage")):
        folder = run.path(table)
        frame = pandas.read_parquet(folder)
        assert len(frame) == len(ds.dataset(folder, partitioning="hive").to_table())
        assert frame[key].nunique() == 2


@pytest.mark.parametrize(
    ("start_s", "end_s", "shown"),
    [(10, 12.5, "00:10 00:12.5"), (3599.5, 3602, "59:59.5 1:00:02"), (59.97, 60.04, "01:00 01:00")],
)
def test_times_read_as_in_a_player(start_s, end_s, shown):
    assert span_text(start_s, end_s).split("\N{EN DASH}") == shown.split()


def test_evidence_is_the_surest_of_those_who_agree(run):
    verdicts = {row["video_id"]: row for row in run.verdicts().to_pylist()}
    assert [evidence(verdicts[name]) for name in "abcd"] == ["a5", "b1", "c0", None]
    assert strongest(run.verdicts().slice(0, 0), 5) == []


# What would be done


def everything(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_of_score_tells_passes_and_clips_and_writes_nothing(ah_ray, run, tmp_path):
    before = everything(tmp_path)
    arguments = ["--videos", tmp_path / "archive", "--ensemble", run.uri, "--run", run.uri]
    code, text = ah_ray("score", *arguments, "--dry-run", "--set", "score.batch_size=6")
    assert code == 0, text
    assert "1 videos at" in text
    assert "pass 1 of 1: /models/base, engine transformers" in text
    assert "v1: 0 of 24 clips to do, in 0 batches" in text
    assert "v2: 18 of 24 clips to do, in 3 batches" in text
    assert "v3: 24 of 24 clips to do, in 4 batches" in text
    assert "6 clips a batch" in text
    _, trial = ah_ray("score", *arguments, "--dry-run", "--limit=2", "--members=v2,v3",
                      "--set=score.batch_size=6")  # fmt: skip
    assert "v1" not in trial.replace(str(tmp_path), "")
    assert "v2: 6 of 12 clips to do, in 1 batches" in trial
    assert everything(tmp_path) == before


def test_a_dry_run_of_all_stages_tells_what_is_missing(ah_ray, run, tmp_path):
    before = everything(tmp_path)
    code, text = ah_ray("run", "--config", "jobs/demo.yaml", "--run", tmp_path / "new", "--dry-run")
    assert code == 0, text
    for told in ("not read yet", "train v1: lora sft, 1 epochs", "pass 3 of 3", "prior: base rates",
                 "reduce: v1, v2, v3"):  # fmt: skip
        assert told in text
    raw = ["--set=members.raw={prompt: short}", "--members=v2,raw", "--dry-run"]
    _, text = ah_ray("run", "--config", "jobs/demo.yaml", "--run", tmp_path / "new", *raw)
    base = f"{tmp_path}/new/base"
    assert f"train raw: not at all: {base} as it is" in text
    assert f"pass 1 of 2: {base}," in text
    options = ["--config", "jobs/demo.yaml", "--run", run.uri, "--dry-run", "--members=v1,v2",
               "--set=model={path: /models/base}", "--set=media={}",
               "--set=segmentation={}", "--set=score.prior=null"]  # fmt: skip
    options.append("--set=score.batch_size=6")
    options.append("--set=members.v2={prompt: short, recipe: lora}")
    code, text = ah_ray("run", *options)
    assert code == 0, text
    assert "5 videos are known" in text
    assert "prepare scoring: 0 of 5 videos to do" in text
    assert "train v2: is there" in text
    assert "v2: 18 of 24 clips" in text
    code, scored = ah_ray("score", *options)
    assert code == 0, scored
    assert "v2: 18 of 24 clips" in scored
    assert everything(tmp_path) == before


def test_a_dry_run_of_the_labels_system_at_full_size(ah_ray, tmp_path):
    code, text = ah_ray("run", "--config", "jobs/labels.yaml", "--run", tmp_path / "r", "--dry-run")
    assert code == 0, text
    for told in (
        "data_catalog/mer2024_ov.yaml at s3://your-bucket/MER2024: not read yet",
        "train visual: not at all: OpenGVLab/InternVL3-8B-hf as it is",
        "train describer: lora sft, 1 epochs, prompt short, on 1 x 8 GPUs",
        "pass 1 of 3: OpenGVLab/InternVL3-8B-hf, engine vllm\n  describer\n  visual\n",
        "pass 2 of 3: Qwen/Qwen3-Omni-30B-A3B-Instruct, engine vllm\n  trimodal\n",
        "pass 3 of 3: Qwen/Qwen2.5-7B-Instruct, engine vllm\n  tuned\n",  # reads the first
        "reduce: visual, tuned, trimodal\n",
    ):
        assert told in text
    captions = ["--config", "jobs/captions.yaml", "--run", tmp_path / "c", "--dry-run"]
    code, text = ah_ray("augment", *captions)
    assert code == 0, text
    assert "pass 2 of 2: Qwen/Qwen2.5-VL-7B-Instruct, engine vllm\n  qwen_vl\n" in text
    assert "captions of train, val that pass refusal, length," in text
    assert not list(tmp_path.iterdir())


def test_a_dry_run_of_two_experts_at_full_size(ah_ray, tmp_path):
    code, text = ah_ray("run", "--config", "jobs/hybrid.yaml", "--run", tmp_path / "r", "--dry-run")
    assert code == 0, text
    for told in (
        "data_catalog/mer2024_semi.yaml at s3://your-bucket/MER2024: not read yet",
        "train zero: not at all: Qwen/Qwen2.5-VL-7B-Instruct as it is",
        "train hybrid: in stages general (general; 1 epochs), emotion (emotion; 3 epochs), "
        "gate (gate, language by lora; 1 epochs), prompt speech, on 1 x 8 GPUs",
        "reduce: zero, hybrid\n",
    ):
        assert told in text
    assert not list(tmp_path.iterdir())


# Where files are found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the package, unpacked: what an installation has."""
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    source = folder / "source"
    subprocess.run(
        ["cp", "-r", "--parents", "pyproject.toml", "setup.py", "README.md", "LICENSE", "jobs",
         "data_catalog", "ah_ray", source], cwd=ROOT, check=source.mkdir() is None,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code, folder], cwd=source, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "site")
    return folder / "site"


def test_a_wheel_has_the_configs_and_finds_them_from_anywhere(wheel, tmp_path):
    shipped = {path.relative_to(wheel / "ah_ray" / "shipped") for path in
               (wheel / "ah_ray" / "shipped").rglob("*.yaml")}  # fmt: skip
    ours = {path.relative_to(ROOT) for folder in ("jobs", "data_catalog")
            for path in (ROOT / folder).glob("*.yaml")}  # fmt: skip
    assert shipped == ours
    assert not (wheel / "jobs").exists()
    code = (
        "import ah_ray.cli, ah_ray.config as c; "
        "print(ah_ray.__file__, c.load_config('jobs/demo.yaml', 'r').catalog.entry); "
        "ah_ray.cli.main(['demo', '--help'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    package = wheel / "ah_ray"
    entry = package / "shipped" / "data_catalog" / "synthetic.yaml"
    assert done.stdout.startswith(f"{package / '__init__.py'} {entry}\n")


def test_the_demo_starts_from_any_folder(ah_ray, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, text = ah_ray("run", "--config", "jobs/demo.yaml", "--run", "r", "--dry-run")
    assert code == 0, text
    assert "data_catalog/synthetic.yaml" in text


def test_sizing_explains_itself(capsys):
    from ah_ray.training.sizing import main as sizing

    for arguments, code, said in ((["--help"], 0, "usage"), (["/nowhere"], 2, "/nowhere")):
        with pytest.raises(SystemExit) as end:
            sizing(arguments)
        assert end.value.code == code
        assert said in "".join(capsys.readouterr())


def test_wheels_are_imported_from_a_folder_that_has_them_all(ah_ray, tmp_path):
    code, text = ah_ray("wheels", "import", tmp_path / "nowhere")
    assert code == 2
    assert "wheel1.xlsx: is not there" in text
    _, text = ah_ray("wheels", "--help")
    assert "..." not in text.partition("Commands:")[2]
