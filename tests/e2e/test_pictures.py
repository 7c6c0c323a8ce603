"""An archive of pictures in the format of EmoSet, some of them hostile, from catalog to report."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ah_ray import schemas
from ah_ray.media.segment import STILL
from ah_ray.tasks import load_task
from tests.e2e.helpers import ah_ray, rows

EMOTIONS = load_task("emoset_emotions").answer.options
COUNTS = {"train": 1, "val": 1, "test": 2}
CONFIG = {
    "catalog": {"entry": "data_catalog/emoset.yaml", "root": "{run}/archive"},
    "task": "emoset_emotions",
    "model": {"path": "{run}/base", "dtype": "float32"},
    # A rule that would leave no clip of a video as short as a picture counts.
    "segmentation": {"clip_s": 5, "min_clip_s": 5, "min_tail_s": 5},
    "media": {"fps": 2, "min_frames": 2, "min_pixels": 1024, "max_pixels": 4096},
    "members": {"zero": {"prompt": "short"}},
    "report": {"thumbnails": 50},
}


def write_picture(path: Path, seed: int, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((160, 120)).save(path, **options)


def hostile(path: Path, video: Path) -> None:
    """What a file of a picture may be, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.stem:
        case "text":
            path.write_text("<html>404</html>")
        case "empty":
            path.touch()
        case "half":
            write_picture(path, 1000)
            path.write_bytes(path.read_bytes()[:900])
        case "large":
            Image.new("L", (9000, 9000)).save(path)
        case "moves":
            Image.new("L", (64, 64)).save(
                path, "PNG", save_all=True, append_images=[Image.new("L", (64, 64), "white")]
            )
        case "film":
            shutil.copy(video, path)
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 8
            write_picture(path, 1001, exif=exif)
        case "other":
            write_picture(path, 1002, format="WEBP")


HOSTILE = {
    "text": "unreadable", "empty": "unreadable", "half": "unreadable", "large": "too_large",
    "moves": "unreadable", "gone": "missing_file",
}  # fmt: skip
FINE = ("film", "turned", "other")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: Path) -> Path:
    run = tmp_path_factory.mktemp("pictures") / "run"
    lists: dict[str, list[list[str]]] = {split: [] for split in COUNTS}
    seed = 0
    for split, count in COUNTS.items():
        for emotion in EMOTIONS:
            for _ in range(count):
                seed += 1
                name = f"{emotion}_{seed}"
                picture = f"image/{emotion}/{name}.jpg"
                write_picture(run / "archive" / picture, seed)
                lists[split].append([emotion, name, picture, f"annotation/{emotion}/{name}.json"])
    video = next((demo / "archive").rglob("*.mp4"))
    for name in (*HOSTILE, *FINE):
        picture = f"image/awe/{name}.jpg"
        hostile(run / "archive" / picture, video)
        lists["test"].append(["awe", name, picture, ""])
    for split, entries in lists.items():
        (run / "archive" / f"{split}.json").write_text(json.dumps(entries))
    shutil.copytree(demo / "base", run / "base")
    (run.parent / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return run


def test_pictures_go_from_the_lists_to_the_report(run: Path) -> None:
    config = ("--config", str(run.parent / "config.yaml"), "--run", str(run))
    printed = ah_ray("run", *config).stdout
    videos = {row["video_id"]: row for row in rows(run / "videos", schemas.VIDEOS)}
    names = {video_id: Path(row["uri"]).stem for video_id, row in videos.items()}
    verdicts = {names[row["video_id"]]: row for row in rows(run / "verdicts", schemas.VERDICTS)}
    named = len(EMOTIONS) * COUNTS["test"] + len(HOSTILE) + len(FINE)
    assert len(verdicts) == named - len(HOSTILE)
    assert set(FINE) < verdicts.keys()
    assert {row["status"] for row in verdicts.values()} == {"ok"}
    lost = {
        Path(row["message"].split(": ")[0].split(" is listed")[0]).stem: row["kind"]
        for row in rows(run / "findings", schemas.FINDINGS, "stage")
        if row["severity"] == "error"
    }
    assert lost == HOSTILE
    told = f"videos in: {named - 1} = {len(verdicts)} verdicts + {len(HOSTILE) - 1} in findings"
    assert told in printed

    clips = rows(run / "clips", schemas.CLIPS, "purpose")
    by_name = {names[clip["video_id"]]: clip for clip in clips}
    film = [clip for clip in clips if names[clip["video_id"]] == "film"]
    assert film[0]["fps"] > 0
    assert len(by_name) == len(clips) - len(film) + 1
    stills = [clip for clip in clips if clip not in film]
    assert {(clip["start_s"], clip["end_s"]) for clip in stills} == {STILL}
    assert {clip["bucket"] for name, clip in by_name.items() if name == "turned"} == {"2x64x32"}
    assert (by_name["turned"]["width"], by_name["turned"]["height"]) == (120, 160)

    counts = json.loads((run / "metrics.json").read_text())
    assert counts["video_level"]["zero"]["n"] == len(verdicts)
    assert counts["video_level"]["zero"]["coverage"] < 1  # of all with a label, those that are lost

    page = (run / "report.html").read_text()
    assert page.count("data:image/jpeg") == len(stills) + 3  # of what moves there are three
    lines = ah_ray("results", "--run", str(run), "--top", "50").stdout.splitlines()
    shown = [line for line in lines if "image/" in line and line.startswith("  ")]
    assert [line for line in shown if "00:0" in line] == [line for line in shown if "film" in line]
