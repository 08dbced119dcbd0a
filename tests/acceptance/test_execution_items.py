"""Does a script of a queue get its item as it was given, and are its failed items found?"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.execution_host import Host, Key
from tests.support import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes users")

NASTY = [
    "web01.example.org",
    "",
    " spaces \t and tabs ",
    "-rf --help",
    "$HOME `id` $(id) ; rm -rf \\ 'single' \"double\" *",
    "first\nsecond\n",
    "\r\n",
    "ünï→\U0001f600\u202e",
    '{"host":"web01","ports":[1,2]}',
    "A=B",
    "x" * (64 << 10),
    "ü" * (32 << 10),
]
PRINT_ITEM = (
    'printf "%s\\0" "$MSCHEDULE_ITEM" "$MSCHEDULE_ATTEMPT" "${MSCHEDULE_ITEMS-unset}" "$#" "$@"'
)
PRINT_BATCH = (
    'cat "$1"; echo "--"; cmp "$1" "$MSCHEDULE_ITEMS" && echo same;'
    'stat -L -c "%a %U" "$MSCHEDULE_ITEMS" "$MSCHEDULE_FAILED";'
    'wc -c < "$MSCHEDULE_FAILED"; echo "${MSCHEDULE_ITEM-unset} $MSCHEDULE_ATTEMPT $2"'
)
# Those for which nothing is cheap: see agent/spawn.py.
WAYS: dict[str, dict[str, Any]] = {"spawned": {}, "forked": {"cwd": "/"}}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as started:
        yield started


def start(host: Host, script: str, item: str, attempt: int = 1, batch: bool = False, **task: Any):
    entry = host.entry(script, **task) | {"item": item, "attempt": attempt, "batch": batch}
    host.call("start", entry)
    host.watch(entry["run"], attempt)
    return entry["run"], attempt


def shown(host: Host, key: Key) -> list[str]:
    host.finish(key)
    return host.output(key).decode().split("\0")[:-1]


# ---- one item


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("item", NASTY, ids=range(len(NASTY)))
def test_it_gives_the_item_as_it_is(host: Host, way: str, item: str):
    key = start(host, PRINT_ITEM, item, 2, args=["-v", item[:9]], **WAYS[way])

    assert shown(host, key) == [item, "2", "unset", "3", item, "-v", item[:9]]


def test_a_fan_out_has_an_attempt_and_no_item(host: Host):
    key = host.start('printf "%s\\0" "${MSCHEDULE_ITEM-unset}" "$MSCHEDULE_ATTEMPT" "$#"')

    assert shown(host, key) == ["unset", "1", "0"]


def test_env_may_not_replace_the_item(host: Host):
    lie = {"MSCHEDULE_ITEM": "no", "MSCHEDULE_ATTEMPT": "9", "MSCHEDULE_ITEMS": "kept"}
    key = start(host, PRINT_ITEM, "web01", env=lie)

    assert shown(host, key) == ["web01", "1", "kept", "1", "web01"]


@pytest.mark.parametrize("item", ["a\0b", "x" * 100_000 + "\0"], ids=["short", "long"])
def test_it_says_briefly_why_an_item_cannot_be_given(host: Host, item: str):
    record = host.finish(start(host, "true", item))

    assert record["cause"] == "broken"
    assert record["reason"].startswith("item: ")
    assert "holds a NUL" in record["reason"] and len(record["reason"]) < 400


def test_an_item_beyond_what_the_kernel_takes_fails_with_a_sentence(host: Host):
    record = host.finish(start(host, "true", "x" * (128 << 10)))

    assert record["cause"] == "broken"
    assert "longer than this host's kernel takes" in record["reason"]


# ---- a batch


@pytest.mark.parametrize("way", WAYS)
def test_it_gives_a_batch_as_a_private_file_of_lines(host: Host, way: str):
    items = ["web01", "-rf", "two words", "$HOME", "ünï"]
    key = start(host, PRINT_BATCH, "\n".join(items), 3, True, args=["arg"], **WAYS[way])
    host.finish(key)

    *lines, dashes, same, items_file, failed_file, size, rest = (
        host.output(key).decode().split("\n")[:-1]
    )
    assert (lines, dashes, same, size, rest) == (items, "--", "same", "0", "unset 3 arg")
    assert items_file == failed_file and items_file.startswith("600 ")


@pytest.mark.parametrize("way", WAYS)
def test_it_reads_what_failed_of_a_batch(host: Host, way: str):
    script = 'grep -e "1$" "$1" > "$MSCHEDULE_FAILED"; echo db2 >> "$MSCHEDULE_FAILED"'
    key = start(host, script, "web01\nweb02\ndb1\ndb2", batch=True, **WAYS[way])
    record = host.finish(key)

    assert (record["code"], record["signalled"]) == (0, False)
    assert host.failed_items(key) == b"web01\ndb1\ndb2\n"


@as_root
@pytest.mark.parametrize("open_folders", [True, False])
def test_the_user_of_the_run_alone_has_the_files_of_a_batch(tmp_path: Path, open_folders: bool):
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    if not open_folders:
        tmp_path.chmod(0o700)
    with Host(tmp_path / "state") as host:
        key = start(
            host,
            'cat "$MSCHEDULE_ITEMS"; stat -L -c "%a %U" "$1" "$MSCHEDULE_FAILED";'
            '(head -n 1 "$1" >> "$MSCHEDULE_FAILED")',
            "web01\nweb02",
            batch=True,
            user="nobody",
        )
        host.finish(key)

        assert host.output(key) == b"web01\nweb02\n600 nobody\n600 nobody\n"
        assert host.failed_items(key) == b"web01\n"


def test_the_files_of_a_batch_go_with_the_run(host: Host):
    key = start(host, "true", "a\nb", batch=True)
    host.finish(key)
    until(lambda: host.call("sweep_clean", *key), what="the end of its supervisor")
    host.call("remove", *key)

    assert not host.directory(key).exists()


def test_it_tells_whether_the_script_died_by_a_signal(host: Host):
    record = host.finish(start(host, "kill -9 $$", "a\nb", batch=True))
    assert (record["code"], record["signalled"]) == (137, True)

    record = host.finish(start(host, "exit 137", "a\nb", batch=True))
    assert (record["code"], record["signalled"]) == (137, False)


@pytest.mark.parametrize("put", ["rm", "mkfifo", "ln -s /etc/passwd"])
def test_what_a_script_puts_in_place_of_its_list_holds_nobody_up(host: Host, put: str):
    script = f'rm "$MSCHEDULE_FAILED"; [ "{put}" = rm ] || {put} "$MSCHEDULE_FAILED"'
    key = start(host, script, "a\nb", batch=True)

    assert host.finish(key)["code"] == 0
    assert host.failed_items(key) == (b"" if put == "rm" else None)
