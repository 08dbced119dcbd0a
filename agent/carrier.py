"""How does one process carry several runs through? One after another, while each leaves nothing.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import _ctypes
import os

from agent import rundir, secret, tree
from agent.failpoint import failpoint
from agent.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

WAKE_SIGNAL = _signal.SIGUSR1
MAX_ORDER_BYTES = 4096  # a path; what a pipe takes whole
MOST_RUNS = 500  # of one process: whatever might gather in it is gone with it
PR_SET_CHILD_SUBREAPER = 36


def carry(directory: str, cgroup_home: str | None, orders: int, done: int) -> None:
    """Carry runs through, one after another, in a process that was forked for it.

    A fork costs more than all else that is done for a short script. So once a run has left
    nothing behind, its end is told on `done`, and the next directory read from `orders`, until
    the runner closes that or is gone. The last run of the process is told by its end alone: who
    says `done` is given another, which nobody would carry through.
    """
    os.setsid()
    _become_subreaper()
    wake = _listen_for_signals()
    for _ in range(MOST_RUNS - 1):
        if not _carry_through(directory, cgroup_home, wake):
            return
        try:
            os.write(done, os.fsencode(f"{os.getpid()} {directory}\0"))
        except BrokenPipeError:
            return
        directory = os.fsdecode(os.read(orders, MAX_ORDER_BYTES))
        if not directory:
            return
    _carry_through(directory, cgroup_home, wake)


def _carry_through(directory: str, cgroup_home: str | None, wake: int) -> bool:
    """Run the script of `directory` to its end, or do nothing when the mark is taken.

    True: nothing is left of it, here or elsewhere, and another run may follow.
    """
    if rundir.read_mark(directory) is not None:
        return True
    lock = rundir.take_lock(directory)
    spec = rundir.decode_spec(rundir.read_file(f"{directory}/{rundir.SPEC}") or b"")
    secrets = secret.read(directory)  # before the mark, after which the agent may remove them
    pid = os.getpid()
    cgroup = tree.cgroup_of(cgroup_home, os.path.basename(directory))
    if not rundir.make_mark(directory, rundir.STARTED, pid, tree.born(pid), cgroup):
        rundir.free_lock(lock)
        return True
    failpoint("mark-made")
    supervisor = Supervisor(directory, spec, secrets, lock, wake, cgroup_home)
    supervisor.run()
    return supervisor.let_go()


def _become_subreaper() -> None:
    """Have every orphan of the tree reparented to us, however it was daemonized.

    The ctypes package itself would cost the runner 0.4 MB for this one call.
    """
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    _ctypes.call_function(prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def _listen_for_signals() -> int:
    """A descriptor that turns readable with each death of a child and each wake-up."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    for number in (_signal.SIGCHLD, WAKE_SIGNAL):
        _signal.signal(number, lambda *_: None)
    _signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable
