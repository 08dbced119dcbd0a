"""How is a program set up? Logging, layered settings, state directories. Nothing of the domain.

Kept light, and free of gevent: an agent imports it on every host, and the web, whose
process is not patched, imports it too.
"""

import contextlib
import dataclasses
import errno
import fcntl
import functools
import logging
import math
import os
import signal
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

VERSION = "0.1.0"

T = TypeVar("T")


class StartError(Exception):
    """The program cannot start, for a reason that the operator can mend; shown as one line."""


class MisfitSettings(StartError):
    """Each setting is right by itself, but not together with another; exit code 2."""


# ---- logging


class _OneLine(logging.Formatter):
    """`2026-11-21T08:50:00.123Z INFO agent.cm: text`, whatever the text holds.

    Hostnames and reasons come from other machines, so that control characters are
    escaped: nobody forges a second line.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else _escaped(c) for c in text)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return iso(record.created) or ""


def _escaped(character: str) -> str:
    return " | " if character == "\n" else character.encode("unicode_escape").decode()


def set_up_logging(level: str) -> None:
    """Log to stderr from `level` (debug, info, warning, error) on; called once, at the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def getLogger(name: str) -> logging.Logger:
    """The logger of a module: `log = getLogger(__name__)`."""
    return logging.getLogger(name)


log = getLogger(__name__)


# ---- settings: argv > environment > TOML file > default


@dataclasses.dataclass(frozen=True)
class _Rule:
    """What `setting` keeps of a field besides its type and default."""

    help: str
    metavar: str | None
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    secret: bool
    only: str | None
    check: Callable[[Any], str | None] | None


def setting(
    default: T,
    help: str,
    *,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    secret: bool = False,
    only: str | None = None,
    check: Callable[[T], str | None] | None = None,
) -> T:
    """One field of a settings dataclass, of type str, int, float, bool or Path, or such or None.

    Field `state_dir` becomes `--state-dir`, `MSCHEDULE_STATE_DIR` and the TOML key `state_dir`.
    `secret`: on the command line only `-` is taken, and read from stdin; the value is never
    repeated in a message. `only`: "argv" for what asks for an action, "environment" for what
    only tests change. `check`: for a bad value says what would be right, else None.
    A bool is yes or no; its flag alone means yes.
    """
    rule = _Rule(help, metavar, choices, minimum, maximum, secret, only, check)
    return dataclasses.field(default=default, metadata={"rule": rule})


LOG_LEVELS = ("debug", "info", "warning", "error")


def secret_or_file(secret: str | None, file: Path | None) -> str | None:
    """A secret, or else what a file holds; None if neither is there.

    A missing file is no error: a join string is needed once, and may be removed afterwards.
    """
    if secret is not None or file is None:
        return secret
    try:
        return file.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{file} cannot be read: {error}") from None


S = TypeVar("S")


def load_settings(
    cls: type[S],
    program: str,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> S:
    """The settings of `program`, from argv > environment > TOML file (`--config`) > default.

    argv is sys.argv[1:] and environ os.environ if None. Exits 0 after `--help` and `--version`,
    and 2 on a bad value, with a line that names it and says what would be right.
    """
    argv = sys.argv[1:] if argv is None else argv
    environ = os.environ if environ is None else environ
    options = _options(cls)
    if "--help" in argv or "-h" in argv:
        _leave(0, _help(cls, program, options))
    if "--version" in argv:
        _leave(0, f"{program} {VERSION}\n")
    try:
        given = _read_argv(argv, options)
        path = given.get("config") or environ.get("MSCHEDULE_CONFIG")
        table = _read_table(path, options) if path else {}
        return cls(**_layered(options, given, environ, table))
    except _BadSetting as bad:
        _leave(2, f"{program}: {bad}\n")


def _leave(code: int, text: str) -> NoReturn:
    print(text, end="", file=sys.stderr if code else sys.stdout)
    raise SystemExit(code)


class _BadSetting(Exception):
    """One line: which setting, which value, from where, and what would be right."""

    def __init__(self, name: str, value: object, source: str, right: str):
        super().__init__(f"{name} = {value!r} (from {source}): {right}")


@dataclasses.dataclass(frozen=True)
class _Option:
    """A field of a settings dataclass, with its names in each layer."""

    name: str
    kind: type
    default: Any
    rule: _Rule

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "MSCHEDULE_" + self.name.upper()


def _options(cls: type[Any]) -> list[_Option]:
    hints = typing.get_type_hints(cls)
    return [
        _Option(field.name, _kind(hints[field.name]), field.default, field.metadata["rule"])
        for field in dataclasses.fields(cls)
    ]


def _kind(hint: Any) -> type:
    """The type itself, also of `type | None`."""
    kinds: tuple[type, ...] = typing.get_args(hint) or (hint,)
    return next(kind for kind in kinds if kind is not types.NoneType)


def _read_argv(argv: Sequence[str], options: list[_Option]) -> dict[str, str]:
    """The texts given as `--name value` or `--name=value`; the last one counts.

    Not argparse: every agent would keep it in memory for a few flags.
    """
    names = {option.flag: option.name for option in options if option.rule.only != "environment"}
    names["--config"] = "config"
    alone = {option.flag for option in options if option.kind is bool}
    given: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in names:
            raise _BadSetting(
                "argument", word, "the command line", "must be one of those of --help"
            )
        if not equals and flag in alone:
            value = "yes"
        elif not equals:
            following = next(words, None)
            if following is None:
                raise _BadSetting(names[flag], "", flag, "a value must follow")
            value = following
        given[names[flag]] = value
    return given


def _layered(
    options: list[_Option],
    given: Mapping[str, str],
    environ: Mapping[str, str],
    table: Mapping[str, Any],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for option in options:
        if option.name in given:
            values[option.name] = _from_argv(option, given[option.name])
        elif option.rule.only != "argv" and environ.get(option.variable):
            values[option.name] = _parsed(option, environ[option.variable], option.variable)
        elif option.name in table:
            values[option.name] = _from_table(option, table[option.name])
    return values


def _from_argv(option: _Option, text: str) -> Any:
    if not option.rule.secret:
        return _parsed(option, text, option.flag)
    if text != "-":
        raise _BadSetting(
            option.name,
            "…",
            option.flag,
            "every user of the host can read a command line: "
            f"give - and the value on stdin, or set {option.variable}",
        )
    return _parsed(option, sys.stdin.readline().strip(), "stdin")


_TOML_TYPES: dict[type, tuple[type, ...]] = {Path: (str,), float: (int, float)}


def _from_table(option: _Option, value: object) -> Any:
    """A TOML value has a type of its own, which must fit; 5 is taken for 5.0."""
    wanted = _TOML_TYPES.get(option.kind, (option.kind,))
    if isinstance(value, bool) is not (option.kind is bool) or not isinstance(value, wanted):
        raise _BadSetting(option.name, _shown(option, value), "the TOML file", _right(option))
    return _parsed(option, str(value), "the TOML file")


_YES_OR_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _yes_or_no(text: str) -> bool:
    try:
        return _YES_OR_NO[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _parsed(option: _Option, text: str, source: str) -> Any:
    try:
        value = _yes_or_no(text) if option.kind is bool else option.kind(text)
    except ValueError:
        raise _BadSetting(option.name, _shown(option, text), source, _right(option)) from None
    right = _right(option) if text == "" or not _fits(option.rule, value) else None
    if right is None and option.rule.check is not None:
        right = option.rule.check(value)
    if right is not None:
        raise _BadSetting(option.name, _shown(option, text), source, right)
    return value


def _fits(rule: _Rule, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if rule.minimum is not None and value < rule.minimum:
        return False
    if rule.maximum is not None and value > rule.maximum:
        return False
    return not rule.choices or value in rule.choices


def _shown(option: _Option, value: object) -> object:
    return "…" if option.rule.secret else value


_NOUNS = {
    int: "a whole number",
    float: "a number",
    bool: "yes or no",
    str: "a text",
    Path: "a path",
}


def _right(option: _Option) -> str:
    rule = option.rule
    if rule.choices:
        return "must be one of " + ", ".join(rule.choices)
    noun = "must be " + _NOUNS[option.kind]
    if rule.minimum is not None and rule.maximum is not None:
        return f"{noun} from {rule.minimum:g} to {rule.maximum:g}"
    if rule.minimum is not None:
        return f"{noun}, at least {rule.minimum:g}"
    return f"{noun} that is not empty" if option.kind in (str, Path) else noun


def _read_table(path: str, options: list[_Option]) -> dict[str, Any]:
    import tomllib  # only here: most agents have no file, and every agent counts its memory

    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        right = f"must be a readable TOML file: {reason}"
        raise _BadSetting("config", path, "--config or MSCHEDULE_CONFIG", right) from None
    known = [option.name for option in options if option.rule.only is None]
    for name, value in table.items():
        if name not in known:
            right = "there is no such setting; known: " + ", ".join(known)
            raise _BadSetting(name, value, path, right)
    return table


def _help(cls: type[Any], program: str, options: list[_Option]) -> str:
    entries = [
        ("--help, --version", "show this, or the version, and leave"),
        ("--config file", "TOML file with settings by name (MSCHEDULE_CONFIG)"),
    ]
    for option in options:
        if option.rule.only == "environment":
            head = option.variable
        else:
            rule = option.rule
            takes = rule.metavar or "|".join(rule.choices) or option.kind.__name__
            head = f"{option.flag} {'[=yes|no]' if option.kind is bool else takes}"
        entries.append((head, f"{option.rule.help} ({_origin(option)})"))
    about = (cls.__doc__ or "").strip().splitlines()[0]
    listed = "".join(f"  {head}\n      {text}\n" for head, text in entries)
    return f"{program} [--flag value | --flag=value]…\n\n{about}\n\n{listed}"


def _origin(option: _Option) -> str:
    shown = "none" if option.default is None else str(option.default)
    if option.kind is bool:
        shown = "yes" if option.default else "no"
    has_variable = option.rule.only is None
    return f"{option.variable}, default {shown}" if has_variable else f"default {shown}"


# ---- starting a program


def launch(cls: type[S], program: str, run: Callable[[S], int]) -> int:
    """Settings, logging, failpoints, then `run(settings)`; its exit code is the program's.

    A StartError becomes one line and exit code 1, or 2 if settings do not fit together.
    """
    settings = load_settings(cls, program)
    set_up_logging(getattr(settings, "log_level", "info"))
    try:
        arm_failpoints(os.environ.get("MSCHEDULE_FAILPOINTS", ""))
        return run(settings)
    except StartError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2 if isinstance(error, MisfitSettings) else 1


# ---- state directories and private files


@contextlib.contextmanager
def state_dir(path: Path) -> Iterator[Path]:
    """Make `path` if it is missing (0700) and hold its lock; StartError if another process does.

    The lock goes with the process, however it ends; a child that execs does not inherit it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(
            f"the state directory {path} cannot be used: {error.strerror}; "
            "choose another with --state-dir"
        ) from error
    try:
        _take_lock(descriptor, path)
        yield path
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        raise StartError(
            f"the state directory {path} is in use by process {holder or 'unknown'}; "
            "stop it, or choose another with --state-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600: wholly or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- times


def iso(ts: float | None) -> str | None:
    """A UNIX time as people and JSON get it: `2026-11-21T08:50:00.123Z`; None stays None.

    The same before and after it was stored: the store gives times back with 15 digits.
    """
    if ts is None:
        return None
    whole_s, milliseconds = divmod(round(round(ts, 5) * 1000), 1000)
    return f"{_to_the_second(whole_s)}.{milliseconds:03}Z"


@functools.lru_cache(maxsize=4096)  # the times of a long list fall into few seconds
def _to_the_second(whole_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole_s))


# ---- failpoints


@dataclasses.dataclass
class _Failpoint:
    action: str
    hits_left: int


_armed: dict[str, _Failpoint] = {}


def arm_failpoints(text: str) -> None:
    """Arm what MSCHEDULE_FAILPOINTS says: `name=kill,other=stop:3,third=raise`.

    kill and stop send the process SIGKILL and SIGSTOP, raise raises OSError; `:3` does so at
    the third hit and not before. For fault tests; each armed one is named in the log.
    """
    for item in filter(None, text.split(",")):
        name, _, action_and_count = item.partition("=")
        action, _, count = action_and_count.partition(":")
        if not name or action not in ("kill", "stop", "raise") or not (count or "1").isdecimal():
            raise StartError(
                f"MSCHEDULE_FAILPOINTS has {item!r}: must be name=kill, name=stop or name=raise, "
                "with :N for the Nth hit"
            )
        _armed[name] = _Failpoint(action, int(count or "1"))
        log.warning(f"failpoint {name} is armed: {action} at hit {count or '1'}")


def failpoint(name: str) -> None:
    """A place where a fault test may kill, stop or fail the process; nothing unless armed."""
    if not _armed:
        return
    point = _armed.get(name)
    if point is None:
        return
    point.hits_left -= 1
    if point.hits_left == 0:
        _fire(name, point.action)


def _fire(name: str, action: str) -> None:
    if action == "raise":
        raise OSError(errno.EIO, f"failpoint {name}")
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
