"""The labels demo on a small archive: captions, a member tuned on them, a chain, words united."""

import json
import os
from itertools import combinations
from pathlib import Path

import pytest

from ah_ray import schemas
from ah_ray.members import read_member, read_seen
from ah_ray.toy.bases import BASES
from ah_ray.toy.demo import make_emotions
from ah_ray.toy.emotions import EmotionsSpec
from tests.e2e.helpers import ROOT, ah_ray, rows

SPEC = EmotionsSpec(train=12, val=2, test=6)
VOTERS = ["trimodal", "tuned", "visual"]
ROLES = {"train": "training", "val": "validation"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with an archive, and models that have learned nothing in place of bases."""
    folder = tmp_path_factory.mktemp("labels")
    make_emotions(str(folder / "archive"), SPEC)
    for name in ("general", "trimodal", "namer"):
        begin = BASES[name].begin
        assert not isinstance(begin, str)
        begin(folder / "bases" / name)
    return folder


def sets(**values: object) -> list[str]:
    """Options ``--set`` of the command line."""
    return [f"--set={key.replace('__', '.')}={json.dumps(value)}" for key, value in values.items()]


def contents(run: Path) -> dict[Path, tuple[bytes, int | None]]:
    """All tables but that of the costs, and when those were written that cost something."""
    dear = (run / "predictions", run / "clips", run / "members")
    return {
        file: (
            file.read_bytes(),
            file.stat().st_mtime_ns if any(map(file.is_relative_to, dear)) else None,
        )
        for file in run.rglob("*.parquet")
        if file.parent != run / "costs"
    }


def test_members_of_three_architectures_unite_their_words(folder: Path) -> None:
    captions = ah_ray(
        *("augment", "--config", "jobs/labels_demo_captions.yaml", "--run", f"{folder}/captioning"),
        *sets(
            catalog__root=f"{folder}/archive",
            model__path=f"{folder}/bases/general",
            models__other__path=f"{folder}/bases/general",
            score__engine="tests.pipelines.light_engines:CaptioningEngine",
            augment__splits=["train", "val"],
            augment__filters=["refusal", "mentions_person", {"length": {"least": 4}}],
        ),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ).stdout
    counts = json.loads((folder / "captioning" / "captions.json").read_text())
    assert counts["captions"] == counts["kept"] + sum(counts["dropped"].values()) > 0
    assert f"{counts['captions']} captions: {counts['kept']} kept" in captions
    kept = [json.loads(line) for line in (folder / "captioning" / "captions.jsonl").open()]
    assert {row["split"] for row in kept} == {"train", "val"}

    command = [
        *("demo", "--config", "jobs/labels_demo.yaml", "--run", str(folder)),
        *sets(recipes__captions__epochs=1, train__validation_splits=["val"]),
    ]
    ah_ray(*command)

    describer = read_member(str(folder / "members" / "describer"))
    assert describer.card.trained["clips"] == sum(row["split"] == "train" for row in kept)
    assert describer.card.trained["checkpoint"]["eval_loss"] > 0
    seen = read_seen(describer)
    assert seen is not None
    assert {(row["video_id"], row["role"]) for row in seen.to_pylist()} == {
        (row["video_id"], ROLES[row["split"]]) for row in kept
    }
    assert not (folder / "media").exists(), "captions need no clips of their own"

    answers = rows(folder / "predictions", schemas.PREDICTIONS, "member")
    assert len(answers) == SPEC.test * 4
    assert not any(row["labels"] for row in answers if row["member"] == "describer")
    verdicts = rows(folder / "verdicts", schemas.VERDICTS)
    assert len(verdicts) == SPEC.test
    for verdict in verdicts:
        assert [member["member"] for member in verdict["members"]] == VOTERS
        words = {
            word: [one["member"] for one in verdict["members"] if word in (one["labels"] or ())]
            for one in verdict["members"]
            for word in one["labels"] or ()
        }
        assert set(verdict["labels"] or ()) == words.keys(), "all that anybody said"
        given = {one["label"]: one["members"] for one in verdict["considered"]}
        assert given == words, "each with those that said it"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["combinations"]) == {
        "+".join(names) for count in (1, 2, 3) for names in combinations(VOTERS, count)
    }
    assert (folder / "report.html").exists()

    before = contents(folder)
    ah_ray(*command)
    assert contents(folder) == before
