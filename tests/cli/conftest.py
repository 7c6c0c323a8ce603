"""The command line in this process, and a run that it is asked about."""

import signal
from pathlib import Path

import pytest

from ah_ray import lineage, schemas, storage, tables
from ah_ray.cli import main
from ah_ray.engines.config import ScoreConfig
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import MEMBER_FILE, MemberCard, member_fingerprint, read_member, write_card
from ah_ray.models.config import ModelConfig
from ah_ray.pipelines.asking import asked_how
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.progress import console

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(ROOT)
    yield
    signal.signal(signal.SIGTERM, before)
    console.quiet = False


@pytest.fixture
def ah_ray(capsys):
    """Runs a command; gives its exit code and what it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out + err

    return run


@pytest.fixture
def refused(ah_ray):
    """Runs a command that is refused before anything is done; gives the message."""

    def run(*arguments: object) -> str:
        code, text = ah_ray(*arguments)
        assert code == 2, text
        assert text.startswith("error ")
        assert "\n  fix: " in text
        return text

    return run


def member(name: str, folder: Path) -> None:
    card = MemberCard(
        name=name, weights="adapter", task="cue_conflict", prompt="short",
        model=ModelConfig(path="/models/base"), media=MediaConfig(),
        segmentation=SegmentationConfig(),
    )  # fmt: skip
    storage.write_bytes(str(folder / name / MEMBER_FILE), write_card(card))


def considered(yes: float | None, clip: str | None) -> list[dict]:
    """Yes and No, with one clip as the evidence for both."""
    if yes is None:
        return []
    chances = {"Yes": yes, "No": round(1 - yes, 3)}
    return [{"label": label, "chance": chance, "evidence_clip_id": clip}
            for label, chance in chances.items()]  # fmt: skip


def vote(name: str, label: str | None, yes: float | None, clip: str | None) -> dict:
    counts = {f"clips_{status}": 0 for status in ("ok", "unparseable", "error", "missing")}
    said = {"labels": label and [label], "considered": considered(yes, clip)}
    return {"member": name} | said | counts


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run with four verdicts of three members, a broken video, and trained members."""
    run = RunDirectory.at(str(tmp_path / "run"))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.mp4").touch()
    run.remember({"archive": "/archive"})
    for name in ("v1", "v2", "v3"):
        member(name, tmp_path / "run" / "members")
    videos = [{"video_id": name, "uri": f"/archive/{name}.mp4"} for name in "abcde"]
    clips = [
        {"clip_id": f"{name}{index}", "video_id": name, "source_uri": f"/archive/{name}.mp4",
         "start_s": 2.5 * index, "end_s": 2.5 * index + 2.5, "bucket": "x"}
        for name in "abcd"
        for index in range(6)
    ]  # fmt: skip
    asked = asked_how(ScoreConfig())
    run.remember({"asked": asked})
    fingerprint = member_fingerprint(read_member(run.path("members", "v1")))
    answered = [
        {"clip_id": row["clip_id"], "video_id": row["video_id"], "status": "ok", "labels": ["Yes"],
         "made_from": lineage.answer_made_from(fingerprint, asked, {"content": None} | row)}
        for row in clips
    ]  # fmt: skip
    yes, no = "Yes", "No"
    verdicts = [
        {"video_id": name, "uri": f"/archive/{name}.mp4", "labels": label and [label],
         "considered": considered(chance, clip), "status": "ok" if label else "undecided",
         "coverage": 1.0, "members": votes}
        for name, label, chance, clip, votes in (
            ("a", yes, 0.75, "a5", [vote("v1", yes, 0.9, "a4"), vote("v2", yes, 0.95, "a5"),
                                    vote("v3", no, 0.4, "a0")]),
            ("b", no, 0.1, "b1", [vote("v1", no, 0.1, "b1"), vote("v2", no, 0.1, "b1"),
                                  vote("v3", yes, 0.1, "b1")]),
            ("c", yes, 0.9, "c0", [vote(name, yes, 0.9, "c0") for name in ("v1", "v2", "v3")]),
            ("d", None, None, None, [vote(name, None, None, None) for name in ("v1", "v2", "v3")]),
        )
    ]  # fmt: skip
    findings = [
        schemas.finding("e", "error", "unreadable", "/archive/e.mp4: moov \x1b[2J", "left out")
    ]
    for rows, schema, folder in (
        (videos, schemas.VIDEOS, run.path("videos")),
        (clips, schemas.CLIPS, run.clips_path(SCORING)),
        ([c | {"labels": [yes]} for c in clips[:1]], schemas.CLIPS, run.clips_path("training")),
        (answered, schemas.PREDICTIONS, run.predictions_path("v1")),
        (answered[:6], schemas.PREDICTIONS, run.predictions_path("v2")),
        (verdicts, schemas.VERDICTS, run.path("verdicts")),
        (findings, schemas.FINDINGS, run.findings_path("prepare_scoring")),
        (findings, schemas.FINDINGS, run.findings_path("score")),
    ):
        tables.write_rows(rows, schema, storage.join(folder, "part-0.parquet"))
    return run
