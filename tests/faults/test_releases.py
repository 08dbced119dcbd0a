"""Is the release that mixed fleets are tried with the one of the newest tag?"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.releases import copy_packages, unpack_release
from tests.fleet import ROOT

BUILT_FROM = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def git(tree: Path, *arguments: str) -> None:
    who = ["-c", "user.name=alice", "-c", "user.email=alice@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=tree, check=True, capture_output=True)


def copy_of_this_tree(folder: Path) -> Path:
    """With a history of its own, of one commit."""
    folder.mkdir()
    copy_packages(ROOT, folder)
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all of it")
    return folder


def test_it_is_built_from_the_newest_tag_and_else_from_the_tree(tmp_path: Path):
    # Given a tree with what no release had
    tree = copy_of_this_tree(tmp_path / "tree")
    git(tree, "tag", "not-a-release")
    (tree / "wire/later.py").touch()

    # Then, as long as nothing was released, that is in the folder, under another version
    copied = unpack_release(tmp_path / "copied", "98.0", tree=tree)
    assert (copied / "wire/later.py").exists()

    # And once there is a tag, what was tagged is, as pip installs it
    git(tree, "tag", "v0.0.1")
    released = unpack_release(tmp_path / "released", "99.0", 77, tree=tree)
    assert not (released / "wire/later.py").exists()
    assert (released / "master/queries.sql").read_bytes() == (
        ROOT / "master/queries.sql"
    ).read_bytes()
    assert list(released.glob("mschedule-*.dist-info"))
    said = "import utils, wire.messages as m; print(utils.__file__, utils.VERSION, m.PROTOCOL)"
    for folder, version in ((copied, "98.0"), (released, "99.0 77")):
        printed = subprocess.run(
            [sys.executable, "-c", said], cwd=folder, check=True, capture_output=True, text=True
        )
        assert printed.stdout.startswith(f"{folder / 'utils.py'} {version}")
