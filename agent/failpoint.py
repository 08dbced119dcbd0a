"""How do fault tests halt a runner or supervisor at a named place?

The same MSCHEDULE_FAILPOINTS as in the other programs (`name=kill,other=stop,third=raise`),
handed on by the agent. What is armed happens each time; a count above 1 is never reached.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB


def failpoint(name: str) -> None:
    """Do what is armed for this place: fork, mark-made, cgroup, before-exec, exited, exit-written.

    raise: an OSError as from a host that has no processes left.
    """
    for place, action in _armed():
        if place == name:
            _act(name, action)


def is_armed(name: str) -> bool:
    return any(place == name for place, _ in _armed())


def _armed() -> "list[tuple[str, str]]":
    items = os.environ.get("MSCHEDULE_FAILPOINTS", "").split(",")
    return [(place, action) for place, _, action in (item.partition("=") for item in items)]


def _act(name: str, action: str) -> None:
    if action in ("kill", "kill:1"):
        os.kill(os.getpid(), _signal.SIGKILL)
    elif action in ("stop", "stop:1"):
        os.kill(os.getpid(), _signal.SIGSTOP)
    elif action in ("raise", "raise:1"):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
