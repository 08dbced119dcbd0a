"""How does a script start without a copy of this Python between fork and exec?

Forking a second time costs 2 ms of CPU for pages that the child copies only to give them up.
posix_spawn(3) borrows our memory instead, and reports what exec said. It waits for the exec, so
it is only for starts in which nothing can hang: no name service, no folder but root's own, no
interpreter but this system's. All others are launch.become_script's, in a child that can be
killed.

The child has to be born in the run's cgroup: the only proof of a stopped tree that nothing it
does can shake off. So the supervisor itself passes through that for the moment.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import errno
import os
import pwd

from agent import launch, rundir, secret, tree
from agent.failpoint import is_armed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

LOCAL = (b"/bin/", b"/sbin/", b"/usr/")


def may_spawn(spec: rundir.Spec, secrets: secret.Secrets) -> bool:
    """Is it a start in which nothing can hang, as far as the spec tells?"""
    plain = spec.user is None and spec.cwd is None and not secrets and not spec.secrets
    return plain and os.geteuid() == 0 and not is_armed("before-exec")


def command_of(directory: str) -> list[bytes] | None:
    """Interpreter and its argument; None: not one of this system's own."""
    descriptor = os.open(f"{directory}/{rundir.SCRIPT}", os.O_RDONLY)
    try:
        command = launch.interpreter(os.pread(descriptor, launch.MAX_SHEBANG_BYTES, 0))
    finally:
        os.close(descriptor)
    return command if command[0].startswith(LOCAL) else None


def spawn(directory: str, spec: rundir.Spec, command: list[bytes], output: int, cgroup: str) -> int:
    """Start the script in its cgroup; the pid. The caller is in there, too, until `is_back`.

    Raises launch.CannotStart when exec fails, OSError when the cgroup does not take us.
    """
    tree.join_cgroup(cgroup)
    pid = _spawn(directory, spec, command, output)
    _note_main(directory, pid)
    return pid


def is_back(home: str) -> bool:
    """Return to the cgroup where supervisors live; did it take us?"""
    try:
        tree.join_cgroup(home)
    except OSError:
        return False
    return True


def _spawn(directory: str, spec: rundir.Spec, command: list[bytes], output: int) -> int:
    account = pwd.getpwuid(0)
    work = launch.Work(spec, [os.fsencode(path) for path in launch.lists_of(directory)])
    argv = [*command, os.fsencode(f"{directory}/{rundir.SCRIPT}"), *work.arguments]
    os.umask(0o022)
    _enter(account.pw_dir)
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            launch.environment(spec, account, work),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP},
        )
    except OSError as error:
        raise launch.CannotStart(_why_not(error, command)) from None
    finally:
        os.chdir("/")  # no file system is held by who merely watches


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:
        os.chdir("/")


def _why_not(error: OSError, command: list[bytes]) -> str:
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return f"the host has no room for another process: {error.strerror}"
    return launch.why_not(error, os.fsdecode(command[0]), has_shebang=command != [launch.SHELL])


def _note_main(directory: str, pid: int) -> None:
    try:
        rundir.write_main(directory, pid, tree.born(pid))
    except OSError:
        pass  # the cgroup has the whole tree
