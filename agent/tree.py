"""Which processes belong to a run, and how are they killed? By cgroup, by descent, by run id.

A process is named by pid and birth (the kernel's start time), so that a pid that was given to
somebody else meanwhile is never hit.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import os

from agent.failpoint import failpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

CGROUP_PREFIX = "mschedule-"


class Process:
    """One line of the process table."""

    __slots__ = ("born", "group", "parent", "pid", "session", "zombie")

    def __init__(self, pid: int, stat: bytes) -> None:
        # The command's name comes in parentheses and may itself hold any character.
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid = pid
        self.zombie = fields[0] in (b"Z", b"X")
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.born = int(fields[19])


def look_up(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return Process(pid, file.read())
    except (OSError, ValueError):
        return None  # it is gone


def born(pid: int) -> int:
    """The birth of a process; 0 when it is gone."""
    process = look_up(pid)
    return process.born if process else 0


def is_alive(pid: int, birth: int) -> bool:
    process = look_up(pid)
    return process is not None and process.born == birth and not process.zombie


def all_processes() -> dict[int, Process]:
    found = (look_up(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in found if process}


def descendants(root: int, table: dict[int, Process]) -> set[int]:
    """All below `root`, without it."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = list(children.get(root, []))
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found


def without_agent(pids: set[int], agent: int, table: dict[int, Process]) -> set[int]:
    """`pids` less the agent and what is its own, should a script have started the agent anew."""
    return pids - {agent} - descendants(agent, table) if agent in pids else pids


def send(process: Process, number: int) -> None:
    """Signal exactly this process, or nobody when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        _send_without_pidfd(process, number)
        return
    try:
        if born(process.pid) == process.born:
            _signal.pidfd_send_signal(descriptor, number)
    except OSError:
        pass  # gone meanwhile, or not ours to signal: the next look tells
    finally:
        os.close(descriptor)


def _send_without_pidfd(process: Process, number: int) -> None:
    """For kernels before 5.3; between look and signal the pid could change hands in theory."""
    try:
        if born(process.pid) == process.born:
            os.kill(process.pid, number)
    except OSError:
        pass


# ---- the run id in the environment


def with_run_id(run: bytes) -> set[int]:
    """Processes whose first environment holds the run id; one started with `env -i` is missed."""
    wanted = b"MSCHEDULE_RUN_ID=" + run
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _has(name, wanted)}


def _has(name: str, assignment: bytes) -> bool:
    try:
        with open(f"/proc/{name}/environ", "rb", buffering=0) as file:
            return assignment in file.readall().split(b"\0")
    except OSError:
        return False


# ---- cgroup v2


def find_cgroup_home() -> str | None:
    """Where cgroups for runs can be made: below our own in the v2 hierarchy. None: nowhere."""
    own = _own_cgroup()
    if own is None:
        return None
    probe = f"{own}/{CGROUP_PREFIX}probe-{os.getpid()}"
    try:
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError:
        return None
    return own


def _own_cgroup() -> str | None:
    try:
        with open("/proc/self/cgroup", "rb") as file:
            lines = os.fsdecode(file.read()).splitlines()
        with open("/proc/self/mounts", "rb") as file:
            mounts = [line.split(" ") for line in os.fsdecode(file.read()).splitlines()]
    except OSError:
        return None
    paths = [line[3:] for line in lines if line.startswith("0::/")]
    points = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    if not paths or not points:
        return None
    return points[0] + outside_runs(paths[0])


def outside_runs(path: str) -> str:
    """The part of a cgroup path above the first run in it: an agent that a script started."""
    parts = []
    for part in path.strip("/").split("/"):
        if _is_of_run(part):
            break
        if part:
            parts.append("/" + part)
    return "".join(parts)


def _is_of_run(name: str) -> bool:
    """Unlike that of a service, which ends in no number."""
    return name.startswith(CGROUP_PREFIX) and name.rpartition(".")[2].isdigit()


def cgroup_of(home: str | None, name: str) -> str:
    """Where the cgroup of one run is made; "" where none can be."""
    return "" if home is None else f"{home}/{CGROUP_PREFIX}{name}"


def make_cgroup(path: str) -> str | None:
    """The path; None when it cannot be had, which only weakens the sweep."""
    try:
        failpoint("cgroup")
        os.mkdir(path)  # fails for "", too
    except OSError:
        return None
    return path


def join_cgroup(path: str) -> None:
    """Move the calling process into it."""
    descriptor = os.open(f"{path}/cgroup.procs", os.O_WRONLY)
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)


def in_cgroup(path: str | None) -> set[int]:
    """Every process in it and in cgroups below it."""
    pids: set[int] = set()
    for directory in _cgroup_and_below(path):
        try:
            with open(f"{directory}/cgroup.procs", "rb") as file:
                pids.update(map(int, file.read().split()))
        except OSError:
            pass  # removed meanwhile, so it was empty
    pids.discard(0)  # processes outside of our pid namespace
    return pids


def kill_cgroup(path: str) -> None:
    """KILL all in it at once, forks under way included; before Linux 5.14 it does nothing."""
    try:
        descriptor = os.open(f"{path}/cgroup.kill", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, b"1")
    except OSError:
        pass
    finally:
        os.close(descriptor)


def remove_cgroup(path: str | None) -> None:
    """Remove it unless something lives in it."""
    if path is None:
        return
    try:
        os.rmdir(path)  # most runs make none below their own
        return
    except FileNotFoundError:  # its supervisor has, as a rule
        return
    except OSError:
        pass
    for directory in reversed(_cgroup_and_below(path)):
        try:
            os.rmdir(directory)
        except OSError:
            return


def remove_empty_cgroups(home: str | None) -> None:
    """Remove what runs have left here; the kernel refuses where something lives."""
    for name in os.listdir(home) if home else []:
        if _is_of_run(name):
            remove_cgroup(f"{home}/{name}")


def _cgroup_and_below(path: str | None) -> list[str]:
    return [entry[0] for entry in os.walk(path)] if path else []
