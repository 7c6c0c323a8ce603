import re
import shutil
import subprocess
from pathlib import Path

from ah_ray.training import versions


def test_packages_that_are_installed_have_their_version():
    found = versions.package_versions()
    assert {"ah-ray", "ms-swift", "torch", "transformers"} <= set(found)
    assert all(found.values())


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path, monkeypatch):
    code = tmp_path / "ah_ray" / "training" / "versions.py"
    code.parent.mkdir(parents=True)
    shutil.copy(versions.__file__, code)
    monkeypatch.setattr(versions, "__file__", str(code))
    assert versions.git_commit() is None  # installed, not a checkout

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    git("tag", "v1")
    assert versions.git_commit() == git("rev-parse", "HEAD")
    Path(code).write_text("changed")
    assert re.fullmatch(r"[0-9a-f]{40}-dirty", versions.git_commit())
