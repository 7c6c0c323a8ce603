"""`ah-ray catalog` and `ah-ray catalog check`, as a person calls them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ah_ray import schemas, storage, tables
from ah_ray.cli import main
from ah_ray.findings import LEFT_OUT, note
from ah_ray.pipelines.catalog import findings_table
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.progress import console

ROOT = Path(__file__).parents[2]
GOOD = [
    {"uri": "1.mp4", "participant_id": "a", "split": "train", "label": 0},
    {"uri": "2.mp4", "participant_id": "a", "split": "train", "label": 1, "intervals": [[1, 2]]},
    {"uri": "4.mp4", "participant_id": "c", "split": "val", "label": 1, "intervals": [[1, 2]]},
    {"uri": "5.mp4", "participant_id": "b", "split": "test", "label": 0},
    {"uri": "6.mp4", "participant_id": "b", "split": "test", "label": 1, "intervals": [[1, 2]]},
]
REVERSED = {"uri": "3.mp4", "participant_id": "b", "label": 1, "intervals": [[2, 1], [3, 4]]}
ESCAPES = {"uri": "../out.mp4"}
HOSTILE = "[red]x[\u2215red]\x1b[2J\n\r\u202e.mp4"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A function that writes a table and gives the options that read it into a run."""
    monkeypatch.chdir(ROOT)
    entry = tmp_path / "entry.yaml"
    entry.write_text("title: mine\nreader: table\nexpected: {videos: 5, participants: 3}\n")
    root = tmp_path / "videos.jsonl"
    # No videos: those of a split are not compared, which is a warning for each.
    for name in ("1.mp4", "2.mp4", "3.mp4", "4.mp4", "5.mp4", "6.mp4", HOSTILE):
        (tmp_path / name).write_text(name)

    def write(*rows):
        root.write_text("\n".join(json.dumps(row) for row in rows))
        settings = [f"catalog.entry={entry}", f"catalog.root={root}"]
        return ["--config", "jobs/demo.yaml", *(w for s in settings for w in ("--set", s))]

    return write


@pytest.fixture
def ah_ray(tmp_path, capsys):
    """A function that runs a command on the run; its exit code and what it printed."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["catalog", *arguments, "--run", str(tmp_path / "run")])
        return ended.value.code, capsys.readouterr().out

    return call


def add_finding(tmp_path, stage, *findings):
    path = storage.join(RunDirectory.at(str(tmp_path / "run")).findings_path(stage), "part-0")
    tables.write_rows(list(findings), schemas.FINDINGS, f"{path}.parquet")


def test_an_archive_without_errors_passes(archive, ah_ray):
    code, shown = ah_ray("check", *archive(*GOOD))
    assert code == 0
    assert shown.endswith(
        "5 videos in the catalog, 0 left out; findings: 0 error, 5 warning, 0 info\n"
    )
    assert "differs" not in shown


def test_a_warning_passes_and_is_shown_with_its_rule_and_an_example(archive, ah_ray):
    code, shown = ah_ray("check", *archive(*GOOD, REVERSED))
    assert code == 0
    row = "warning interval_reversed 1 the interval is dropped"
    example = "row 6 of videos.jsonl: [2, 1] ends before it starts"
    assert f"{row} {example}" in " ".join(shown.split())  # whatever the terminal's width
    assert "differs from what was published: all: 6 videos, published are 5 (+1)" in shown
    assert shown.endswith(
        "6 videos in the catalog, 0 left out; findings: 0 error, 6 warning, 0 info\n"
    )


def test_an_error_fails(archive, ah_ray):
    code, shown = ah_ray("check", *archive(*GOOD, ESCAPES))
    assert code == 1
    assert "unsafe_key" in shown
    assert shown.endswith(
        "5 videos in the catalog, 1 left out; findings: 1 error, 5 warning, 0 info\n"
    )


def test_a_run_is_checked_again_without_its_config_or_archive(archive, ah_ray, tmp_path):
    options = archive(*GOOD, REVERSED, ESCAPES)
    first = ah_ray("check", *options)
    for name in ("videos.jsonl", "entry.yaml"):
        (tmp_path / name).unlink()
    code, shown = ah_ray("check")
    assert code == 1
    assert first[1].endswith(shown)  # but for the line that says what is read
    assert "differs from what was published" in shown


def test_reading_again_replaces_what_was_found(archive, ah_ray):
    assert ah_ray("check", *archive(*GOOD, ESCAPES))[0] == 1
    assert ah_ray("check", *archive(*GOOD))[0] == 0
    assert ah_ray("check")[0] == 0


def test_the_catalog_stage_itself_ends_well(archive, ah_ray):
    code, shown = ah_ray(*archive(*GOOD, ESCAPES))
    assert code == 0
    assert "5 videos: 2 test, 2 train, 1 val" in shown
    assert "error: 1 unsafe_key" in shown
    assert ah_ray("check")[0] == 1


def test_findings_of_other_stages_count(archive, ah_ray, tmp_path):
    ah_ray(*archive(*GOOD))
    lost = note("x", "unreadable", "2.mp4: no video")
    add_finding(tmp_path, "prepare_scoring", lost, lost)  # a repeated row is one finding
    add_finding(tmp_path, "prepare_training", note("y", "interval_past_end", "late"))
    code, shown = ah_ray("check")
    assert code == 1
    assert shown.index("prepare_scoring") < shown.index("unreadable")
    assert shown.index("unreadable") < shown.index("prepare_training")
    assert shown.endswith("findings: 1 error, 1 warning, 0 info\n")


def test_names_are_neither_markup_nor_commands_of_the_terminal(archive, ah_ray):
    hostile = {"uri": HOSTILE, "label": 7, "split": "[/]\x1b[2J"}
    hostile |= {"video_id": "../../[/id]\x1b]0;t\x07"}
    options = archive(*GOOD, hostile, hostile | {"label": 0})
    code, shown = ah_ray(*options)
    assert code == 0
    code, again = ah_ray("check", *options)
    assert code == 1
    for text in (shown, again):
        assert not set(text) & set("\x1b\x07\r\u202e")
    assert "1 [/]\\x1b[2J" in shown
    assert "[/id]\\x1b]0;t\\x07" in "".join(again.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check"], "is not there yet"),
        ([], "does not say which archive"),
        (["check", "--set", "catalog.root=x"], "does not say which archive"),
        (["check", "--config", "none.yaml"], "there is no such file"),
        (["chekc"], None),
    ],
)
def test_a_wrong_call_is_no_finding(ah_ray, arguments, problem):
    code, shown = ah_ray(*arguments)
    assert code == 2
    assert problem is None or problem in shown


def test_a_file_that_is_not_there_is_a_finding_and_a_changed_one_another_content(
    archive, ah_ray, tmp_path
):
    videos = tmp_path / "run" / "videos"

    def contents():
        rows = tables.read_table(str(videos), schemas.VIDEOS).to_pylist()
        return {Path(row["uri"]).name: row["content"] for row in rows}

    options = archive(*GOOD)
    assert ah_ray("check", *options)[0] == 0
    before = contents()
    (tmp_path / "1.mp4").write_text("another")
    (tmp_path / "6.mp4").rename(tmp_path / "moved.mp4")
    code, shown = ah_ray("check", *options)
    assert code == 1
    assert "missing_file" in shown
    after = contents()
    assert before.keys() - after.keys() == {"6.mp4"}
    assert None not in before.values()
    assert after["1.mp4"] != before["1.mp4"]
    for row in GOOD:
        (tmp_path / row["uri"]).unlink(missing_ok=True)
    assert ah_ray("check", *options)[0] == 2


def test_an_archive_that_cannot_be_read_is_no_finding(archive, ah_ray):
    assert ah_ray("check", *archive({"path": "no uri"}))[0] == 2


def test_a_mistyped_root_does_not_bind_the_run_to_it(archive, ah_ray, tmp_path):
    options = archive(*GOOD)
    assert ah_ray("check", *options, "--set", "catalog.root=nowhere.csv")[0] == 2
    assert ah_ray("check", *options)[0] == 0
    shutil.copy(tmp_path / "videos.jsonl", tmp_path / "other.jsonl")
    code, shown = ah_ray("check", *options, "--set", f"catalog.root={tmp_path}/other.jsonl")
    assert code == 2
    assert "the run was made with" in shown


def test_the_job_passes_check_through(tmp_path):
    command = [sys.executable, "jobs/catalog.py", "check", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "is not there yet" in done.stdout) == (2, True)


def test_the_worst_comes_first_and_the_example_depends_on_no_order():
    rows = [note(str(n), kind, f"example {n}") for n, kind in enumerate(KINDS_OF_EACH_SEVERITY * 2)]
    found = [findings_table("catalog", some) for some in (rows, rows[::-1])]
    shown = []
    for table in found:
        with console.capture() as capture:
            console.print(table)
        shown.append(capture.get())
    assert shown[0] == shown[1]
    assert shown[0].index("missing_file") < shown[0].index("label_invalid")
    assert shown[0].index("label_invalid") < shown[0].index("ignored_files")
    assert "example 5" not in shown[0]


def test_the_sizes_of_splits_are_shown(archive, ah_ray):
    people = {"uri": "3.mp4", "participant_id": " A", "split": "train"}
    code, shown = ah_ray("check", *archive(*GOOD, people, {"uri": HOSTILE, "label": 0}))
    assert code == 0
    sizes = [line.split() for line in shown.splitlines()]
    assert ["train", "3", "1", "1", "1", "1"] in sizes  # of one participant, spelled twice
    assert ["test", "2", "1", "1", "0", "1"] in sizes
    assert ["no", "split", "1", "0", "1", "0", "0"] in sizes


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (["score.splits=[tset]"], ["score.splits names 'tset'", "did you mean 'test'?"]),
        (["train.splits=[train, extra]"], ["split_missing", "names 'extra'"]),
        (["train.splits=[val]", "train.validation_splits=[]"], ["one_class_training"]),
    ],
)
def test_a_config_that_asks_for_what_is_not_there_fails(archive, ah_ray, settings, found):
    options = archive(*GOOD)
    code, shown = ah_ray("check", *options, *(w for s in settings for w in ("--set", s)))
    assert code == 1
    assert all(text in " ".join(shown.split()) for text in found)
    assert ah_ray("check")[0] == 1  # it stays in the run,
    assert ah_ray("check", *options)[0] == 0  # until the archive is read again


def test_an_archive_of_word_lists_with_broken_cells_is_read_and_adds_up(ah_ray, tmp_path):
    root = tmp_path / "mer"
    (root / "video").mkdir(parents=True)
    for name in ("s1", "s2", "s3", "other"):
        (root / "video" / f"{name}.mp4").write_text(name)
    lines = ["name,openset", "s1,\"['glad', 'calm']\"", "s2,\"['glad'\"", ",['sad']"]
    lines += ["../s1,['sad']", "s4,['sad']", "s3,['sad']", "s3,['glad']", "s1,\"['glad', 'calm']\""]
    (root / "check-openset.csv").write_text("\n".join(lines))
    task = tmp_path / "words.yaml"
    task.write_text(
        "name: words\nanswer: {kind: labels}\nmetrics: []\n"
        "prompts: {short: {system: Look., user: Which ones}}\n"
    )
    settings = ["catalog.entry=data_catalog/mer2024_ov.yaml", f"catalog.root={root}"]
    settings += [f"task={task}", "members={zero: {prompt: short}}", "recipes={}"]
    options = ["--config", "jobs/demo.yaml", *(w for s in settings for w in ("--set", s))]
    code, shown = ah_ray("check", *options)
    assert code == 1
    assert "access: Signed agreement needed" in shown
    assert "published are 332 (-329)" in shown
    videos = tables.read_table(str(tmp_path / "run" / "videos"), schemas.VIDEOS).to_pylist()
    read_as = {Path(video["uri"]).stem: video["labels"] for video in videos}
    assert read_as == {"s1": ["calm", "glad"], "s2": None, "s3": ["sad"]}
    found = RunDirectory.at(str(tmp_path / "run")).findings().to_pylist()
    kinds = [row["kind"] for row in found if row["stage"] == "catalog"]
    left_out = [kind for kind in kinds if kind in LEFT_OUT]
    assert sorted(left_out) == ["bad_row", "duplicate_row", "missing_file", "unsafe_key"]
    assert len(videos) + len(left_out) + kinds.count("repeated_row") == len(lines) - 1
    assert "3 videos in the catalog, 4 left out" in shown


def test_the_same_content_in_two_splits_fails_before_anything_is_prepared(
    archive, ah_ray, tmp_path
):
    (tmp_path / "5.mp4").write_text("1.mp4")
    code, shown = ah_ray("check", *archive(*GOOD))
    assert code == 1
    assert "content_in_two_splits" in shown
    assert "1.mp4=" in "".join(shown.split())


KINDS_OF_EACH_SEVERITY = ["ignored_files", "missing_file", "label_invalid"]
