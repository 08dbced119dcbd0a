"""How does a script become a process? User, folder, environment, signals, shebang, exec.

All of it happens in the child, between fork and exec: a name service or network file system
that hangs then hangs a process that the supervisor can kill. Where nothing can hang, there is a
cheaper way: agent/spawn.py.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import errno
import os
import pwd

from agent import rundir, secret
from agent.failpoint import failpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = b"/bin/sh"
MAX_SHEBANG_BYTES = 4096


class CannotStart(Exception):
    """The script cannot be started; the message is the sentence a person reads."""


def become_script(
    directory: str, spec: rundir.Spec, secrets: secret.Secrets, output: int, errors: int
) -> None:
    """Turn this forked child into the script. Never returns; a failure is told on `errors`."""
    reason = "the script could not be started"
    try:
        _become_script(directory, spec, secrets, output)
    except CannotStart as error:
        reason = str(error)
    except OSError as error:
        reason = f"the script could not be started: {error.strerror or error}"
    except Exception as error:  # a bug; its sentence is better than a silent FAILED
        reason = f"the script could not be started: {type(error).__name__}: {error}"
    finally:
        os.write(errors, reason.encode("utf-8", "replace")[: rundir.MAX_REASON_CHARS])
        os._exit(127)


def _become_script(directory: str, spec: rundir.Spec, secrets: secret.Secrets, output: int) -> None:
    failpoint("before-exec")
    os.setsid()
    _connect(output)
    account = _account(spec.user)
    # Opened while we may still read everything; see _reachable.
    script = os.open(f"{directory}/{rundir.SCRIPT}", os.O_RDONLY)
    command = interpreter(os.pread(script, MAX_SHEBANG_BYTES, 0))
    if account.pw_uid != os.geteuid():
        _give(script, account)
    if len(secrets) != spec.secrets:
        raise CannotStart("the secrets of the run are no longer on this host")
    files = secret.write_files(directory, secrets, account.pw_uid, account.pw_gid)
    lists = _open_lists(directory, account) if spec.batch else []
    _become(account, spec.user)
    _enter(spec.cwd, account)
    os.umask(0o022)
    _reset_signals()
    path = _reachable(f"{directory}/{rundir.SCRIPT}", script)
    work = Work(spec, [_reachable(*opened) for opened in lists])
    argv = [*command, path, *work.arguments]
    variables = environment(spec, account, work)
    variables |= dict(secrets.variables)
    for name, file in files.items():
        variables[name] = _reachable(secret.path_of(directory, name), file)
    _exec(argv, variables, has_shebang=command != [SHELL])


class Work:
    """What the script works on, as it is told: `$1` and variables. Of a fan-out, nothing.

    `lists`: of a batch, where its items are found, and where those that failed are to be named.
    """

    def __init__(self, spec: rundir.Spec, lists: "list[bytes]") -> None:
        self.variables: dict[bytes, bytes] = {}
        item = spec.item
        if spec.batch:
            item = lists[0]
            self.variables = {b"MSCHEDULE_ITEMS": lists[0], b"MSCHEDULE_FAILED": lists[1]}
        elif item is not None:
            self.variables = {b"MSCHEDULE_ITEM": item}
        self.arguments = spec.args if item is None else [item, *spec.args]


def lists_of(directory: str) -> "list[str]":
    """The files of a batch."""
    return [f"{directory}/{rundir.ITEMS}", f"{directory}/{rundir.FAILED}"]


def _open_lists(directory: str, account: pwd.struct_passwd) -> "list[tuple[str, int]]":
    """Give them to the user, and open them while we may still read everything."""
    opened = []
    for path in lists_of(directory):
        descriptor = os.open(path, os.O_RDONLY)
        if account.pw_uid != os.geteuid():
            _give(descriptor, account)
        opened.append((path, descriptor))
    return opened


def _connect(output: int) -> None:
    """Nothing on stdin, one pipe for both outputs; every other descriptor closes on exec."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _account(user: bytes | None) -> pwd.struct_passwd:
    if user is None:
        return _own_account()
    name = os.fsdecode(user)
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise CannotStart(
            f"user: there is no user {name!r} on this host; it must name an existing account"
        ) from None


def _own_account() -> pwd.struct_passwd:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # a container may run under a number without a name
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))


def _give(file: int, account: pwd.struct_passwd) -> None:
    """Let the user have its script; where we may not, _become() has the sentence for it."""
    try:
        os.fchown(file, account.pw_uid, account.pw_gid)
    except PermissionError:
        pass


def _become(account: pwd.struct_passwd, user: bytes | None) -> None:
    """Take on groups and ids of the account; without a wish, stay who we are."""
    if user is None or (os.geteuid() != 0 and account.pw_uid == os.geteuid()):
        return
    try:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except PermissionError:
        raise CannotStart(
            f"user: the agent runs as {_own_account().pw_name} and may not become "
            f"{account.pw_name!r}; leave user out or run the agent as root"
        ) from None


def _enter(cwd: bytes | None, account: pwd.struct_passwd) -> None:
    try:
        os.chdir(account.pw_dir if cwd is None else cwd)
    except OSError as error:
        if cwd is None:  # many system accounts have no home
            os.chdir("/")
            return
        raise CannotStart(
            f"cwd: {os.fsdecode(cwd)!r} cannot be entered by {account.pw_name}: "
            f"{error.strerror}; it must be a folder that this user may enter"
        ) from None


def _reset_signals() -> None:
    for number in _signal.valid_signals():
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # KILL and STOP cannot be set
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _reachable(path: str, opened: int) -> bytes:
    """The name under which the user can open a file that was opened before.

    Where they may not pass through a folder above it, the open descriptor does instead, as
    in fexecve(3): only the file's own permissions count then.
    """
    if os.access(path, os.R_OK):
        return os.fsencode(path)
    os.set_inheritable(opened, True)
    return b"/proc/self/fd/%d" % opened


def interpreter(start: bytes) -> list[bytes]:
    """Interpreter and its one argument, split as the kernel splits `#!`; else the shell.

    Parsed here, so that the script file itself is never executed: it may lie on a file system
    mounted noexec, and no writer can be in the way.
    """
    line = start.partition(b"\n")[0].partition(b"\0")[0]
    if not line.startswith(b"#!"):
        return [SHELL]
    words = line[2:].strip(b" \t")
    program = words.replace(b"\t", b" ").partition(b" ")[0]
    argument = words[len(program) :].strip(b" \t")
    return [word for word in (program, argument) if word] or [SHELL]


def environment(spec: rundir.Spec, account: pwd.struct_passwd, work: Work) -> dict[bytes, bytes]:
    name = os.fsencode(account.pw_name)
    return {
        b"PATH": PATH,
        b"HOME": os.fsencode(account.pw_dir),
        b"USER": name,
        b"LOGNAME": name,
        b"SHELL": os.fsencode(account.pw_shell) or SHELL,
        b"LANG": b"C.UTF-8",
        **dict(spec.env),
        b"MSCHEDULE_TASK_ID": spec.task,
        b"MSCHEDULE_RUN_ID": spec.run,
        b"MSCHEDULE_AGENT_ID": spec.agent,
        b"MSCHEDULE_ATTEMPT": b"%d" % spec.attempt,
        **work.variables,
    }


def _exec(argv: list[bytes], variables: dict[bytes, bytes], has_shebang: bool) -> None:
    try:
        os.execve(argv[0], argv, variables)  # scripts are its work  # nosec B606
    except OSError as error:
        raise CannotStart(why_not(error, os.fsdecode(argv[0]), has_shebang)) from None


def why_not(error: OSError, interpreter: str, has_shebang: bool) -> str:
    if error.errno == errno.E2BIG:
        return "args, env: together they are longer than this host's kernel takes; shorten them"
    where = "named in the first line " if has_shebang else ""
    hint = "; the line ends in a carriage return" if interpreter.endswith("\r") else ""
    return (
        f"script: the interpreter {interpreter!r} {where}cannot be executed: {error.strerror}"
        f"{hint}; it must be an executable that exists on this host"
    )
