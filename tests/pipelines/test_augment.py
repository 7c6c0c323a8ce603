"""From an archive to captions that can be trained on, with engines that load at once."""

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from ah_ray import schemas, tables
from ah_ray.config import RunConfig, load_config
from ah_ray.ensemble import read_ensemble
from ah_ray.errors import ConfigError
from ah_ray.pipelines.augment import augment, captioning
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.scorer import BATCHES_AT_ONCE
from ah_ray.pipelines.stages import augment_stage, plan_augment, score_stage
from ah_ray.pipelines.status import status
from tests.e2e.helpers import ROOT, kill_when

TASK = {
    "name": "captions",
    "answer": {"kind": "text"},
    "prompts": {"describe": {"system": "You see a clip.", "user": "Describe the person in it."}},
}
FILTERS = ["refusal", {"length": {"least": 3}}, "mentions_person", {"polarity": "annotated"}]


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Any:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, videos: list[Path]) -> Path:
    """An archive with two test videos, of which others without a split show what they show."""
    folder = tmp_path_factory.mktemp("augment")
    glad, sad, test = videos

    def other_bytes(name: str, video: Path) -> None:
        (folder / name).write_bytes(video.read_bytes() + b"\0\0\0\x08free")

    for name, video in (("glad", glad), ("sad", sad), ("test", test), ("copy", test)):
        shutil.copy(video, folder / f"{name}.mp4")
    other_bytes("known.mp4", glad)
    other_bytes("loose.mp4", sad)
    rows = [
        "uri,participant_id,split,annotated", "glad.mp4,1,train,1", "sad.mp4,2,train,-0.4",
        "test.mp4,3,test,1", "copy.mp4,,,1", "known.mp4,03,train,1", "loose.mp4,,,",
    ]  # fmt: skip
    (folder / "videos.csv").write_text("\n".join(rows) + "\n")
    (folder / "archive.yaml").write_text("title: Small\nreader: table\n")
    (folder / "captions.yaml").write_text(yaml.safe_dump(TASK))
    (folder / "base").mkdir()
    (folder / "base" / "config.json").write_text('{"model_type": "qwen3_omni_moe"}')
    config = {
        "catalog": {"entry": "archive.yaml", "root": str(folder / "videos.csv")},
        "task": "captions.yaml",
        "model": {"path": str(folder / "base")},
        "media": {
            "fps": 1, "min_frames": 2, "max_frames": 4, "min_pixels": 1024, "max_pixels": 8192,
        },
        "segmentation": {"clip_s": 2.5, "min_tail_s": 1.5},
        "members": {name: {"prompt": "describe"} for name in ("one", "other", "plain", "mute")},
        "score": {
            "engine": "tests.pipelines.light_engines:CaptioningEngine",
            "engine_args": {"begun": str(folder / "begun")},
            "batch_size": 2, "cpus_per_actor": 0.5, "cpus_per_decoder": 0.5,
        },
        "augment": {"filters": FILTERS, "near_duplicates": 0.9},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def settings(folder: Path, *overrides: str) -> RunConfig:
    return load_config(folder / "config.yaml", str(folder), overrides)


def written(run: Path) -> dict[str, bytes]:
    files = [*run.glob("captions/*"), run / "captions.json", run / "captions.jsonl"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def done(folder: Path) -> Path:
    augment_stage(RunDirectory.at(str(folder / "run")), settings(folder))
    return folder / "run"


def captions(run: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tables.read_table(
        str(run / "captions"), schemas.CAPTIONS
    ).to_pylist()
    return rows


def test_every_caption_is_kept_or_dropped_by_one_filter(done: Path) -> None:
    rows, counts = captions(done), json.loads((done / "captions.json").read_text())
    run = RunDirectory.at(str(done))
    clips = run.clips("scoring")
    assert len(rows) == counts["captions"] == 4 * len(clips)
    assert counts["captions"] == counts["kept"] + sum(counts["dropped"].values())
    assert set(counts["dropped"]) == {"held_out", "no_caption", "polarity", "near_duplicates"}
    by_filter = {name: sum(row["dropped_by"] == name for row in rows) for name in counts["dropped"]}
    assert by_filter == counts["dropped"]
    assert counts["kept"] == sum(row["dropped_by"] is None for row in rows)
    assert all((row["why"] is None) == (row["dropped_by"] is None) for row in rows)
    of_captioners = counts["captioners"].values()
    assert sum(of["kept"] for of in of_captioners) == counts["kept"]
    assert sum(of["captions"] for of in of_captioners) == counts["captions"]
    assert {r["dropped_by"] for r in rows if r["captioner"] == "mute"} == {"held_out", "no_caption"}
    plain = [row for row in rows if row["captioner"] == "plain"]
    assert sum(row["dropped_by"] is None for row in plain) == 1  # the same words each time


def test_nobody_of_the_test_split_gets_in(done: Path) -> None:
    run = RunDirectory.at(str(done))
    names = {row["video_id"]: Path(row["uri"]).stem for row in run.videos().to_pylist()}
    rows = captions(done)
    assert {names[row["video_id"]] for row in rows} == {"glad", "sad", "copy", "known", "loose"}
    why = {names[r["video_id"]]: r["why"] for r in rows if r["dropped_by"] == "held_out"}
    assert set(why) == {"copy", "known"}
    assert why["copy"].endswith("test.mp4, which is in test")
    assert why["known"] == "participant 03 is in test"
    kept = [json.loads(line) for line in (done / "captions.jsonl").read_text().splitlines()]
    assert {names[row["video_id"]] for row in kept} == {"glad", "loose"}  # sad by its annotation


def test_rows_are_what_is_kept_in_order(done: Path) -> None:
    kept = [json.loads(line) for line in (done / "captions.jsonl").read_text().splitlines()]
    assert [(row["clip_id"], row["captioner"]) for row in kept] == sorted(
        (row["clip_id"], row["captioner"]) for row in captions(done) if row["dropped_by"] is None
    )
    for row in kept:
        assert row["caption"].startswith("A man")
        assert row["source_uri"].endswith(".mp4")
        assert row["end_s"] > row["start_s"] >= 0
        assert row["content"]


def test_order_and_parts_of_the_answers_change_nothing(
    folder: Path, done: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(done, copy)
    for member in (copy / "predictions").iterdir():
        rows = tables.read_table(str(member), schemas.PREDICTIONS).to_pylist()
        shutil.rmtree(member)
        random.Random(3).shuffle(rows)
        for part in range(3):
            path = member / f"part-{part}.parquet"
            tables.write_rows(rows[part::3], schemas.PREDICTIONS, str(path))
    (copy / "captions" / "part-99.parquet").write_bytes(b"of another time")
    augment_stage(RunDirectory.at(str(copy)), settings(folder))
    assert written(copy) == written(done)


COMMAND = """
import sys
import ray
from ah_ray.config import load_config
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.pipelines.stages import augment_stage

config, run = sys.argv[1:]
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
augment_stage(RunDirectory.at(run), load_config(config, run))
"""


def test_killed_it_goes_on_and_ends_with_the_same_bytes(
    folder: Path, done: Path, tmp_path: Path
) -> None:
    run, begun = tmp_path / "run", folder / "begun"
    batches = len(begun.read_text().splitlines())
    command = [sys.executable, "-c", COMMAND, str(folder / "config.yaml"), str(run)]
    kill_when(command, lambda: any(run.glob("predictions/*/*.parquet")))
    assert not (run / "captions.jsonl").exists()
    augment_stage(RunDirectory.at(str(run)), settings(folder))
    assert written(run) == written(done)
    again = len(begun.read_text().splitlines()) - 2 * batches
    assert again <= BATCHES_AT_ONCE, "those that were under way"


def test_what_is_not_whole_is_not_there(folder: Path, done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(done, copy)
    fragile = 'augment={filters: ["tests.pipelines.light_engines:fragile"]}'
    with pytest.raises(ConfigError, match=r"filters: tests\.pip.*ValueError: .* as of today"):
        augment_stage(RunDirectory.at(str(copy)), settings(folder, fragile))
    assert not (copy / "captions.jsonl").exists()
    augment_stage(RunDirectory.at(str(copy)), settings(folder))
    assert written(copy) == written(done)


def test_other_filters_ask_nobody_again(folder: Path, done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(done, copy)
    before = {p: p.stat().st_mtime_ns for p in copy.glob("predictions/*/*")}
    augment_stage(RunDirectory.at(str(copy)), settings(folder, "augment={filters: []}"))
    assert {p: p.stat().st_mtime_ns for p in copy.glob("predictions/*/*")} == before
    counts = json.loads((copy / "captions.json").read_text())
    assert set(counts["dropped"]) == {"held_out", "no_caption"}
    assert counts["kept"] > json.loads((done / "captions.json").read_text())["kept"]


def test_status_tells_what_is_kept_dropped_and_stale(done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(done, copy)
    run = RunDirectory.at(str(copy))
    counts = json.loads((copy / "captions.json").read_text())

    def told() -> tuple[Any, ...]:
        (line,) = [line for line in status(run) if line.stage == "augment"]
        return line[2:]

    dropped = sum(counts["dropped"].values())
    assert told() == (counts["kept"], 0, 0, dropped, "")
    (copy / "captions.jsonl").unlink()
    assert "ah-ray augment" in told()[-1]
    run.remember({"asked": {"engine": "another"}})
    assert told()[:4] == (0, counts["captions"], 0, 0)


def test_what_is_evaluated_is_not_captioned(folder: Path) -> None:
    for overrides in (
        ["augment.splits=[train, test]"],
        ["augment.splits=[val]", "score.splits=[val]"],
    ):
        with pytest.raises(ConfigError, match="is evaluated"):
            captioning(settings(folder, *overrides))
    config = captioning(settings(folder, "augment.splits=[train, val]", "score.prior=overall"))
    assert (config.score.splits, config.score.prior) == (("train", "val"), None)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["augment.filters=[lenght]"], r"augment.filters: there is no 'lenght'"),
        (["augment.splits=[trian]"], r"augment.splits: the archive has no split trian"),
        (["augment.near_duplicates=2"], r"augment.near_duplicates: "),
    ],
)
def test_a_wrong_setting_is_told_at_once(
    folder: Path, tmp_path: Path, overrides: list[str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        augment_stage(RunDirectory.at(str(tmp_path / "run")), settings(folder, *overrides))
    assert not (tmp_path / "run" / "predictions").exists()


def test_a_dry_run_tells_passes_and_filters_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    run = RunDirectory.at(str(tmp_path / "run"))
    plan_augment(run, load_config("jobs/captions.yaml", run.uri))
    said = capsys.readouterr().out
    assert "prepare scoring: the videos of train, val" in said
    assert "score, pass 2 of 2: Qwen/Qwen2.5-VL-7B-Instruct, engine vllm" in said
    assert "pass refusal, length, language, mentions_person, polarity, captioners_agree" in said
    assert not (tmp_path / "run").exists()


def test_somebody_must_write(done: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="nobody writes captions"):
        augment(RunDirectory.at(str(done)), [], settings(folder).augment)
    assert (done / "captions.jsonl").exists()


REASONS = ("english", "chinese")


@pytest.fixture
def reasoning(folder: Path) -> Path:
    """A config whose captioners are told the label, and whose readers must find it."""
    rows = ["uri,participant_id,split,label", "glad.mp4,1,train,happy", "sad.mp4,2,train,sad",
            "test.mp4,3,test,happy", "loose.mp4,,,"]  # fmt: skip
    (folder / "labelled.csv").write_text("\n".join(rows) + "\n")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    members = {name: {"prompt": prompt, "reads": ["label"]}
               for name, prompt in zip(REASONS, ("short", "short_zh"), strict=True)}  # fmt: skip
    blind = {"picture": "none", "audio": "none"}
    members |= {f"of_{name}": {"prompt": prompt, "reads": [name], "media": blind}
                for name, prompt in zip(REASONS, ("read", "read_zh"), strict=True)}  # fmt: skip
    config |= {
        "catalog": {"entry": "archive.yaml", "root": str(folder / "labelled.csv")},
        "task": "emotion_explanations", "members": members, "augment": {"filters": ["label_found"]},
    }  # fmt: skip
    for member in members.values():
        member["decoding"] = "generate"
    config["score"]["engine"] = "tests.pipelines.light_engines:ExplainingEngine"
    (folder / "reasoning.yaml").write_text(yaml.safe_dump(config))
    return folder / "reasoning.yaml"


def test_reasons_are_kept_where_a_reader_finds_the_label(reasoning: Path, tmp_path: Path) -> None:
    run = RunDirectory.at(str(tmp_path / "run"))
    config = load_config(reasoning, run.uri)
    plan_augment(run, config)
    augment_stage(run, config)
    names = {row["video_id"]: Path(row["uri"]).stem for row in run.videos().to_pylist()}
    rows = captions(tmp_path / "run")
    assert {row["captioner"] for row in rows} == set(REASONS)
    why = {
        (names[row["video_id"]], row["captioner"]): (row["dropped_by"], row["why"]) for row in rows
    }
    kept = (None, None)
    assert why == {
        ("glad", "english"): kept, ("glad", "chinese"): kept, ("sad", "english"): kept,
        ("sad", "chinese"): ("label_found", "of_chinese finds angry in it, not sad"),
        **{("loose", name): ("no_caption", "not_read") for name in REASONS},
    }  # fmt: skip
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "captions.jsonl").read_text().splitlines()
    ]
    assert {(names[one["video_id"]], *one["labels"]) for one in lines} == {
        ("glad", "happy"),
        ("sad", "sad"),
    }
    # Who is told a label is not asked what is evaluated.
    with pytest.raises(ConfigError, match=r"members.\w+.reads: it would be told the label"):
        score_stage(run, config)
    members = read_ensemble(run.path("members"))
    with pytest.raises(ConfigError, match="nobody reads english"):
        augment(run, [one for one in members if one.name != "of_english"], config.augment)
    counts = json.loads((tmp_path / "run" / "captions.json").read_text())
    (line,) = [line for line in status(run) if line.stage == "augment"]
    assert (line.done, line.stale) == (counts["kept"], 0)
    card = tmp_path / "run" / "members" / "of_english" / "member.yaml"
    card.write_text(card.read_text().replace("max_new_tokens: 32", "max_new_tokens: 16"))
    (line,) = [line for line in status(run) if line.stage == "augment"]
    assert (line.done, line.stale) == (0, counts["captions"])
    assert "of_english, who reads them" in line.note
