"""Who may import whom? Entry points → packages → wire → utils, and never back."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = {
    "app": "agent",
    "appserver": "master",
    "appwebserver": "webserver",
    "apppostman": "postman",
}
PACKAGES = ("agent", "master", "postman", "webserver")
ALLOWED = {
    "utils": set(),
    "wire": {"wire", "utils"},
    **{package: {package, "wire", "utils"} for package in PACKAGES},
    **{entry: {package, "utils"} for entry, package in ENTRIES.items()},
}
OURS = set(ALLOWED)


def files(room: str) -> list[Path]:
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it, by their full names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("room", ALLOWED)
def test_it_imports_inwards_only(room):
    for path in files(room):
        strangers = (tops(path) & OURS) - ALLOWED[room]
        assert not strangers, f"{path} imports {strangers}"


@pytest.mark.parametrize("room", ALLOWED)
def test_it_never_imports_tests_or_scripts(room):
    for path in files(room):
        assert not tops(path) & {"tests", "scripts", "benchmarks"}, path


@pytest.mark.parametrize("room", [*PACKAGES, *ENTRIES, "utils"])
def test_it_leaves_zerorpc_to_the_wire(room):
    for path in files(room):
        assert "zerorpc" not in tops(path), path


def test_it_patches_the_master_alone():
    for room in (
        "webserver",
        "appwebserver",
        "postman",
        "apppostman",
        "agent",
        "app",
        "wire",
        "utils",
    ):
        for path in files(room):
            assert not any(name.startswith("gevent.monkey") for name in imported(path)), path


def test_it_patches_before_anything_else_in_the_master():
    statements = ast.parse((ROOT / "appserver.py").read_text()).body[1:]  # after the docstring
    lines = [ast.unparse(statement) for statement in statements]
    first = lines[: lines.index("monkey.patch_all(ssl=False)")]
    assert all("gevent" in line for line in first), first


def test_it_runs_scripts_with_nothing_but_the_standard_library():
    """A copy of what the runner loads lives with every run. It makes `agent` a bare package."""
    code = (
        "import sys; sys.modules['agent'] = agent = type(sys)('agent'); agent.__path__ = ['agent'];"
        "import agent.runner; print(*sys.modules)"
    )
    printed = subprocess.check_output([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, text=True)
    loaded = {name.partition(".")[0] for name in printed.split()}
    assert loaded <= {*sys.stdlib_module_names, "__main__", "agent"}
    assert "agent.supervisor" in printed.split()
