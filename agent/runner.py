"""Who forks the supervisors? A small process without gevent or ZeroMQ, so that a fork is cheap.

The agent starts it as a program of its own and sends, over a SOCK_SEQPACKET pair, one message
for each run: the path of its directory. The answer is `<path>\\0<pid of the supervisor>`, or
`<path>\\0` and why there is none. When the agent goes away the runner ends; supervisors live on.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

# `agent` as a bare package: its own __init__ would load gevent and all of the agent.
_folder = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.modules["agent"] = type(sys)("agent")
    sys.modules["agent"].__path__ = [_folder]

from agent import supervisor, tree  # noqa: E402
from agent.failpoint import failpoint  # noqa: E402

MAX_MESSAGE_BYTES = 16 << 10


def main(agent: int) -> None:
    """Serve the agent at the other end of this descriptor until it goes away."""
    os.set_inheritable(agent, False)
    os.set_blocking(agent, True)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)  # only the agent's end is ours, and KILL
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # no zombies: the kernel reaps
    cgroup_home = tree.find_cgroup_home()
    tree.remove_empty_cgroups(cgroup_home)
    gc.collect()
    gc.freeze()  # what is here now is never looked at again, so the children share it
    gc.disable()
    try:
        while message := os.read(agent, MAX_MESSAGE_BYTES):
            os.write(agent, _fork_supervisor(agent, os.fsdecode(message), cgroup_home))
    except (BrokenPipeError, ConnectionResetError):
        pass


def _fork_supervisor(agent: int, directory: str, cgroup_home: str | None) -> bytes:
    """The answer to the agent."""
    try:
        failpoint("fork")
        pid = os.fork()
    except OSError as error:
        return os.fsencode(f"{directory}\0no supervisor could be forked: {error.strerror}")
    if pid == 0:
        _be_supervisor(agent, directory, cgroup_home)
    return os.fsencode(f"{directory}\0{pid}")


def _be_supervisor(agent: int, directory: str, cgroup_home: str | None) -> None:
    """Never returns."""
    code = 1
    try:
        os.close(agent)
        supervisor.supervise(directory, cgroup_home)
        code = 0
    except Exception:
        sys.excepthook(*sys.exc_info())  # into the log file that is our stderr
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
