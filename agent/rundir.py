"""What lies in a run's directory, and who writes what? The layout that agent and supervisor share.

`<state>/runs/<run>.<attempt>/` holds
    spec     how to run it; the agent, before it asks for the start. Its lock (flock) is held
             by the supervisor until the run has ended
    script   the bytes to run, 0700 and owned by the user it runs as; the agent
    mark     started or void; whoever creates it decides whether the script starts. With it the
             supervisor's pid and birth, and where the cgroup is, if one could be had
    stop     cause and grace of a kill that is asked for; the agent
    secrets  and secret.NAME, until the run ends: see agent/secret.py
    items    of a batch: an item a line; the agent, for the user it runs as
    failed   of a batch: those that the script says have failed; made by the agent, empty
    output   the first bytes of the output; the supervisor, appending
    tail     the last bytes, as a ring; the supervisor
    exit     how it ended, JSON; the supervisor, renamed into place from exit.room, which holds
             pid and birth of the script's first process until then

The small facts (mark, stop) are symbolic links whose target is the text. Making one is a single
system call that either creates the whole text or fails with EEXIST, so none can be torn, and it
takes no data block, so it also works when the disk is full. Each file costs the kernel the
search for an inode, a quarter of a millisecond at times, so there are no more than these.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import fcntl
import os

SPEC, SCRIPT, OUTPUT, TAIL = "spec", "script", "output", "tail"
ITEMS, FAILED = "items", "failed"
AS_IT_IS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # whatever a script has put in its place
STARTED, VOID = "started", "void"

# Room for the exit record, taken before the start, so that a full disk cannot lose the verdict.
EXIT_ROOM_BYTES = 8192
READ_BYTES = 64 << 10
MAX_REASON_CHARS = 1000
MAX_SURVIVORS = 200

_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\"}


class Spec:
    """How to run one script, in bytes, as the kernel takes it. None: not given."""

    def __init__(
        self,
        *,
        task: bytes,
        run: bytes,
        agent: bytes,
        args: list[bytes],
        env: list[tuple[bytes, bytes]],
        timeout_s: float = 0.0,
        grace_s: float = 10.0,
        head_bytes: int = 8 << 20,
        tail_bytes: int = 2 << 20,
        user: bytes | None = None,
        cwd: bytes | None = None,
        secrets: int = 0,
        attempt: int = 1,
        item: bytes | None = None,
        batch: bool = False,
    ) -> None:
        self.task = task
        self.run = run
        self.agent = agent
        self.args = args
        self.env = env
        self.timeout_s = timeout_s
        self.grace_s = grace_s
        self.head_bytes = head_bytes
        self.tail_bytes = tail_bytes
        self.user = user
        self.cwd = cwd
        self.secrets = secrets  # how many there must be
        self.attempt = attempt
        self.item = item  # of a queue; a batch has its items in a file
        self.batch = batch


def encode_spec(spec: Spec) -> bytes:
    """NUL-ended `key=value` items; no value can hold a NUL, since none could be passed to exec."""
    items = [
        b"task=" + spec.task,
        b"run=" + spec.run,
        b"agent=" + spec.agent,
        b"timeout=%r" % spec.timeout_s,
        b"grace=%r" % spec.grace_s,
        b"head=%d" % spec.head_bytes,
        b"tail=%d" % spec.tail_bytes,
        b"secrets=%d" % spec.secrets,
        b"attempt=%d" % spec.attempt,
        b"batch=%d" % spec.batch,
    ]
    if spec.user is not None:
        items.append(b"user=" + spec.user)
    if spec.cwd is not None:
        items.append(b"cwd=" + spec.cwd)
    if spec.item is not None:
        items.append(b"item=" + spec.item)
    items += [b"arg=" + arg for arg in spec.args]
    items += [b"env=" + name + b"=" + value for name, value in spec.env]
    return b"".join(item + b"\0" for item in items)


def decode_spec(encoded: bytes) -> Spec:
    fields: dict[bytes, list[bytes]] = {}
    for item in encoded.split(b"\0")[:-1]:
        key, _, value = item.partition(b"=")
        fields.setdefault(key, []).append(value)
    assignments = [item.partition(b"=") for item in fields.get(b"env", [])]
    return Spec(
        task=fields[b"task"][0],
        run=fields[b"run"][0],
        agent=fields[b"agent"][0],
        args=fields.get(b"arg", []),
        env=[(name, value) for name, _, value in assignments],
        timeout_s=float(fields[b"timeout"][0]),
        grace_s=float(fields[b"grace"][0]),
        head_bytes=int(fields[b"head"][0]),
        tail_bytes=int(fields[b"tail"][0]),
        user=fields.get(b"user", [None])[0],
        cwd=fields.get(b"cwd", [None])[0],
        secrets=int(fields.get(b"secrets", [b"0"])[0]),
        attempt=int(fields.get(b"attempt", [b"1"])[0]),
        item=fields.get(b"item", [None])[0],
        batch=fields.get(b"batch", [b"0"])[0] != b"0",
    )


# ---- files


def write_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Write a whole file of that mode, whatever the umask is; not synced."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def read_file(path: str) -> bytes | None:
    """The whole file; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return b"".join(iter(lambda: os.read(descriptor, READ_BYTES), b""))
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


# ---- facts in symbolic links


def _read_fact(directory: str, name: str) -> list[str]:
    """The words of a fact; [] if there is none."""
    try:
        return os.readlink(f"{directory}/{name}").split(" ")
    except FileNotFoundError:
        return []


def _replace_fact(directory: str, name: str, text: str) -> None:
    try:
        os.symlink(text, f"{directory}/{name}")
        return
    except FileExistsError:
        pass
    scratch = f"{directory}/{name}.new"
    try:
        os.unlink(scratch)
    except FileNotFoundError:
        pass
    os.symlink(text, scratch)
    os.rename(scratch, f"{directory}/{name}")


def make_mark(directory: str, word: str, pid: int = 0, born: int = 0, cgroup: str = "") -> bool:
    """Create the mark. False: there was one, and what it says counts."""
    try:
        os.symlink(f"{word} {pid} {born} {cgroup}", f"{directory}/mark")
    except FileExistsError:
        return False
    return True


def read_mark(directory: str) -> tuple[str, int, int] | None:
    """The word, and pid and birth of the supervisor; None: nobody has decided yet.

    A mark that does not read as one counts as started: that is never said falsely.
    """
    words = _read_fact(directory, "mark")
    if not words:
        return None
    if len(words) < 3 or words[0] not in (STARTED, VOID):
        return STARTED, 0, 0
    return words[0], int(words[1]), int(words[2])


def read_cgroup(directory: str) -> str | None:
    """Where it is, or would be if it could have been made."""
    return " ".join(_read_fact(directory, "mark")[3:]) or None


def write_main(directory: str, pid: int, born: int) -> None:
    """Into room that is taken already, so that it is known on a full disk, too."""
    descriptor = os.open(f"{directory}/exit.room", os.O_WRONLY)
    try:
        os.pwrite(descriptor, b"main %d %d\n" % (pid, born), 0)
    finally:
        os.close(descriptor)


def read_main(directory: str) -> tuple[int, int] | None:
    """None: it is not known, or an exit record has taken its place."""
    words = (read_file(f"{directory}/exit.room") or b"").partition(b"\n")[0].split(b" ")
    return (int(words[1]), int(words[2])) if len(words) == 3 and words[0] == b"main" else None


def write_agent(runs: str, pid: int, born: int) -> None:
    """Say who the agent is, beside the run directories: no kill may ever hit it."""
    _replace_fact(runs, "agent", f"{pid} {born}")


def read_agent(directory: str) -> tuple[int, int] | None:
    words = _read_fact(f"{directory}/..", "agent")
    return (int(words[0]), int(words[1])) if len(words) == 2 else None


def write_stop(directory: str, cause: str, grace_s: float) -> None:
    """Ask for a kill. Asked again, the first cause stays, and the grace can only get shorter."""
    cause, shortest_s = read_stop(directory) or (cause, grace_s)
    _replace_fact(directory, "stop", f"{cause} {min(shortest_s, grace_s)!r}")


def read_stop(directory: str) -> tuple[str, float] | None:
    words = _read_fact(directory, "stop")
    return (words[0], float(words[1])) if len(words) == 2 else None


# ---- the lock


def take_lock(directory: str) -> int:
    """Hold the lock for as long as the returned descriptor (close-on-exec) is open."""
    descriptor = os.open(f"{directory}/{SPEC}", os.O_RDONLY)
    # Waits, because is_locked() holds the lock shared for the microseconds of its look.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def free_lock(descriptor: int) -> None:
    """Free it for every process that inherited the descriptor, then close it here."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_locked(directory: str) -> bool:
    try:
        descriptor = os.open(f"{directory}/{SPEC}", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


# ---- the exit record


def reserve_exit(directory: str) -> None:
    """Take the exit record's room on the disk; OSError when there is none."""
    descriptor = os.open(f"{directory}/exit.room", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, EXIT_ROOM_BYTES)
    finally:
        os.close(descriptor)


def write_exit(directory: str, record: "dict[str, object]") -> None:
    """Write, fsync, rename, fsync the directory: after this the record is whole and durable."""
    descriptor = os.open(f"{directory}/exit.room", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        encoded = to_json(record).encode("ascii")
        write_all(descriptor, encoded)
        os.ftruncate(descriptor, len(encoded))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(f"{directory}/exit.room", f"{directory}/exit")
    sync_directory(directory)


def sync_failed(directory: str) -> None:
    """Before the verdict: failed items that the power takes from the list would count as done."""
    try:
        descriptor = os.open(f"{directory}/{FAILED}", AS_IT_IS)
    except OSError:
        return  # the script has removed it, and names none
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # it has put something there that is no file, and the agent will say so
    finally:
        os.close(descriptor)


def sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: object) -> str:
    """JSON of plain values. The json package would cost the runner 1.5 MB, a third of its size."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{_quoted(key)}:{to_json(item)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    raise TypeError(f"{type(value).__name__} has no place in an exit record")


def _quoted(text: str) -> str:
    """An ASCII string literal; bytes that were no UTF-8 become the replacement character."""
    text = os.fsencode(text).decode("utf-8", "replace")
    utf16 = "".join(_ESCAPES.get(ord(c), c) if " " <= c <= "~" else _utf16_escapes(c) for c in text)
    return f'"{utf16}"'


def _utf16_escapes(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join("\\u" + units[i : i + 4] for i in range(0, len(units), 4))
