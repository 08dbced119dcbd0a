"""Where does another release of mschedule come from? A folder with its packages, as pip installs.

From the newest tag if there is one, else from this tree; under another version, and if wanted
another protocol. Its programs use what is in the folder, and nothing of this tree.
"""

import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from tests.fleet import ROOT

PROGRAMS = ("app.py", "appserver.py", "appwebserver.py", "utils.py")
PACKAGES = ("agent", "master", "webserver", "wire")


def unpack_release(folder: Path, version: str, protocol: int | None = None) -> Path:
    """The folder, with a release in it that says it is `version`."""
    folder.mkdir()
    with tarfile.open(fileobj=BytesIO(_archive())) as archive:
        archive.extractall(folder, filter="data")
    _rewrite(folder / "utils.py", r"^VERSION = .*$", f'VERSION = "{version}"')
    if protocol is not None:
        _rewrite(folder / "wire/messages.py", r"^PROTOCOL = .*$", f"PROTOCOL = {protocol}")
    return folder


def _archive() -> bytes:
    """The packages as a tar: those of the newest tag, or as they are here and now."""
    tag = _git("describe", "--tags", "--abbrev=0")
    if tag.returncode == 0:
        made = _git("archive", tag.stdout.decode().strip(), *PROGRAMS, *PACKAGES)
        assert made.returncode == 0, made.stderr
        return made.stdout
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in (*PROGRAMS, *PACKAGES):
            archive.add(ROOT / name, name, filter=_without_caches)
    return packed.getvalue()


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=False)


def _rewrite(file: Path, line: str, by: str) -> None:
    text, number = re.subn(line, by, file.read_text(), flags=re.MULTILINE)
    assert number == 1, f"{file} has {number} lines {line}"
    file.write_text(text)
