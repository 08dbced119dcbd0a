"""Where does another release of mschedule come from? A folder with its packages, as pip installs.

The newest tag `v…` is built into a wheel, once, and unpacked; where there is no tag yet, the
packages of this tree are copied. Either way it says that it is another version, and if wanted
speaks another protocol. Its programs use what is in the folder, and nothing of this tree.
"""

import functools
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.fleet import ROOT

PROGRAMS = ("app.py", "appserver.py", "appwebserver.py", "apppostman.py", "utils.py")
PACKAGES = ("agent", "master", "postman", "webserver", "wire")
BUILT_WITHIN_S = 300.0


def unpack_release(
    folder: Path, version: str, protocol: int | None = None, *, tree: Path = ROOT
) -> Path:
    """The folder, with a release in it that says it is `version`."""
    folder.mkdir()
    tag = _newest_tag(tree)
    if tag is None:
        copy_packages(tree, folder)
    else:
        with zipfile.ZipFile(io.BytesIO(_wheel_of(tree, tag))) as wheel:
            wheel.extractall(folder)  # all of it is pure Python: this is what an installer does
    _rewrite(folder / "utils.py", r"^VERSION = .*$", f'VERSION = "{version}"')
    if protocol is not None:
        _rewrite(folder / "wire/messages.py", r"^PROTOCOL = .*$", f"PROTOCOL = {protocol}")
    return folder


def _newest_tag(tree: Path) -> str | None:
    """The last release before what is here; None if there was none, or nobody can tell."""
    said = _git(tree, "describe", "--tags", "--match", "v*", "--abbrev=0")
    return said.stdout.decode().strip() if said.returncode == 0 else None


@functools.cache
def _wheel_of(tree: Path, tag: str) -> bytes:
    archived = _git(tree, "archive", tag)
    assert archived.returncode == 0, archived.stderr
    with tempfile.TemporaryDirectory() as place:
        source, built = Path(place, "source"), Path(place, "built")
        with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
            archive.extractall(source, filter="data")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        pip = subprocess.run(
            [*command, "--wheel-dir", built, source],
            capture_output=True,
            text=True,
            timeout=BUILT_WITHIN_S,
            check=False,
        )
        assert pip.returncode == 0, f"{tag} cannot be built: {pip.stderr}"
        (wheel,) = built.glob("*.whl")
        return wheel.read_bytes()


def copy_packages(tree: Path, folder: Path) -> None:
    """Programs and packages as they are here and now."""
    for name in PROGRAMS:
        shutil.copy(tree / name, folder)
    for name in PACKAGES:
        shutil.copytree(tree / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def _git(tree: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", tree, *arguments], capture_output=True, check=False)


def _rewrite(file: Path, line: str, by: str) -> None:
    text, number = re.subn(line, by, file.read_text(), flags=re.MULTILINE)
    assert number == 1, f"{file} has {number} lines {line}"
    file.write_text(text)
