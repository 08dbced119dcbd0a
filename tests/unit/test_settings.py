import io
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

import agent.settings
import master.settings
import webserver.settings
from utils import VERSION, StartError, load_settings, setting

PROGRAMS = {
    "mschedule-agent": agent.settings.Settings,
    "mschedule-master": master.settings.Settings,
    "mschedule-web": webserver.settings.Settings,
}


@dataclass(frozen=True)
class Example:
    """What can be set in these tests."""

    name: str = setting("web01", "a name")
    slots: int = setting(4, "how many", minimum=1, maximum=8)
    heartbeat: float = setting(5.0, "seconds", minimum=1)
    state_dir: Path = setting(Path("/var/lib/x"), "where", metavar="dir")
    level: str = setting("info", "how loud", choices=("info", "error"))
    join: str | None = setting(None, "a secret", metavar="-", secret=True)
    action: str | None = setting(None, "do it", choices=("now",), only="argv")
    boot_file: Path = setting(Path("/proc/x"), "for tests", only="environment")
    even: int = setting(2, "even", check=lambda n: "must be even" if n % 2 else None)
    plain: bool = setting(False, "yes or no")


def load(*argv: str, **environ: str) -> Example:
    return load_settings(Example, "example", argv, environ)


def refusal(capsys, *argv: str, **environ: str) -> str:
    with pytest.raises(SystemExit) as exit:
        load(*argv, **environ)
    assert exit.value.code == 2
    return str(capsys.readouterr().err)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "example.toml").write_text(text)
        return str(tmp_path / "example.toml")

    return write


def test_it_has_the_defaults_when_nothing_is_given():
    assert load() == Example()


def test_it_takes_each_type_from_the_command_line():
    found = load("--name=db1", "--slots", "8", "--heartbeat", "2.5", "--state-dir=/tmp/s=t")
    assert found == Example(name="db1", slots=8, heartbeat=2.5, state_dir=Path("/tmp/s=t"))


def test_it_takes_each_type_from_the_environment():
    found = load(MSCHEDULE_SLOTS="3", MSCHEDULE_HEARTBEAT="9", MSCHEDULE_STATE_DIR="/tmp/s")
    assert found == Example(slots=3, heartbeat=9.0, state_dir=Path("/tmp/s"))


def test_it_takes_each_type_from_the_file(config):
    path = config('name = "db1"\nslots = 3\nheartbeat = 5\nstate_dir = "/tmp/s"\n')
    assert load("--config", path) == Example(
        name="db1", slots=3, heartbeat=5.0, state_dir=Path("/tmp/s")
    )


@pytest.mark.parametrize(
    ("argv", "plain"),
    [
        (["--plain"], True),
        (["--plain=yes"], True),
        (["--plain=no"], False),
        (["--plain", "--name=db1"], True),
    ],
)
def test_it_takes_a_flag_that_stands_alone_for_yes(argv, plain):
    assert load(*argv).plain is plain


def test_it_takes_yes_and_no_from_every_layer(config):
    assert load(MSCHEDULE_PLAIN="TRUE").plain
    assert not load("--plain=no", MSCHEDULE_PLAIN="1").plain
    assert load("--config", config("plain = true")).plain


def test_it_refuses_what_is_neither_yes_nor_no(capsys, config):
    assert "must be yes or no" in refusal(capsys, "--plain=perhaps")
    assert "must be yes or no" in refusal(capsys, MSCHEDULE_PLAIN="2")
    assert "must be yes or no" in refusal(capsys, "--config", config("plain = 1"))
    assert "must be a whole number" in refusal(capsys, "--config", config("slots = true"))


def test_it_prefers_argv_to_environment_to_file_to_default(config):
    path = config('slots = 1\nname = "file"\nheartbeat = 1.5\n')
    found = load("--slots=3", MSCHEDULE_CONFIG=path, MSCHEDULE_SLOTS="2", MSCHEDULE_NAME="environ")
    assert (found.slots, found.name, found.heartbeat, found.level) == (3, "environ", 1.5, "info")


def test_it_takes_an_empty_variable_for_one_that_is_not_set():
    assert load(MSCHEDULE_SLOTS="").slots == 4


@pytest.mark.parametrize(
    ("flag", "value", "right"),
    [
        ("slots", "many", "must be a whole number from 1 to 8"),
        ("slots", "0", "must be a whole number from 1 to 8"),
        ("slots", "9", "must be a whole number from 1 to 8"),
        ("slots", "2.5", "must be a whole number from 1 to 8"),
        ("heartbeat", "nan", "must be a number, at least 1"),
        ("heartbeat", "inf", "must be a number, at least 1"),
        ("level", "loud", "must be one of info, error"),
        ("name", "", "must be a text that is not empty"),
        ("even", "3", "must be even"),
    ],
)
def test_it_names_a_bad_value_and_what_would_be_right(capsys, flag, value, right):
    error = refusal(capsys, f"--{flag}={value}")
    assert error == f"example: {flag} = {value!r} (from --{flag}): {right}\n"


def test_it_names_the_variable_a_bad_value_came_from(capsys):
    assert "'x' (from MSCHEDULE_SLOTS)" in refusal(capsys, MSCHEDULE_SLOTS="x")


@pytest.mark.parametrize(
    "line", ["slots = 99", 'slots = "3"', "slots = true", "slots = 2.5", "name = 5"]
)
def test_it_refuses_a_value_in_the_file_that_does_not_fit(capsys, config, line):
    error = refusal(capsys, "--config", config(line))
    assert error.startswith(f"example: {line.split()[0]} = ")
    assert "(from the TOML file): must be" in error


def test_it_refuses_an_unknown_name_in_the_file(capsys, config):
    error = refusal(capsys, "--config", config("slot = 3"))
    assert "slot = 3" in error
    assert "there is no such setting; known: name, slots," in error


def test_it_refuses_in_the_file_what_belongs_on_the_command_line(capsys, config):
    assert "there is no such setting" in refusal(capsys, "--config", config('action = "now"'))
    assert load(MSCHEDULE_ACTION="now").action is None


@pytest.mark.parametrize("content", ["slots =", "\udc80"])
def test_it_refuses_a_file_that_is_not_toml(capsys, tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert "must be a readable TOML file" in refusal(capsys, "--config", str(path))


def test_it_refuses_a_file_that_is_not_there(capsys, tmp_path):
    error = refusal(capsys, MSCHEDULE_CONFIG=str(tmp_path / "none.toml"))
    assert "No such file" in error


def test_it_refuses_a_secret_on_the_command_line_and_does_not_repeat_it(capsys):
    error = refusal(capsys, "--join", "mschedule://host?token=hunter2")
    assert "hunter2" not in error
    assert "MSCHEDULE_JOIN" in error


def test_it_reads_a_secret_from_stdin_or_the_environment(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    assert load("--join", "-").join == "hunter2"
    assert load(MSCHEDULE_JOIN="hunter3").join == "hunter3"


def test_it_refuses_an_empty_stdin_as_a_secret(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "must be a text that is not empty" in refusal(capsys, "--join", "-")


def test_it_takes_from_the_environment_only_what_tests_change(capsys):
    assert load(MSCHEDULE_BOOT_FILE="/x").boot_file == Path("/x")
    assert "argument = '--boot-file'" in refusal(capsys, "--boot-file", "/x")


@pytest.mark.parametrize("word", ["--slot", "--slot=3", "slots", "-s", "--", ""])
def test_it_refuses_an_argument_that_it_does_not_know(capsys, word):
    error = refusal(capsys, "--slots=3", word)
    assert error == (
        f"example: argument = {word!r} (from the command line): must be one of those of --help\n"
    )


def test_it_refuses_a_flag_without_a_value(capsys):
    assert refusal(capsys, "--slots") == "example: slots = '' (from --slots): a value must follow\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_explains_every_setting_of_a_program(capsys, program):
    with pytest.raises(SystemExit) as exit:
        load_settings(PROGRAMS[program], program, ["--help"], {})
    assert exit.value.code == 0
    help = " ".join(capsys.readouterr().out.split())
    for field in fields(PROGRAMS[program]):
        rule = field.metadata["rule"]
        assert rule.help in help
        assert (f"--{field.name.replace('_', '-')} " in help) == (rule.only != "environment")
        assert (f"MSCHEDULE_{field.name.upper()}" in help) == (rule.only != "argv")


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_says_its_version(capsys, program):
    with pytest.raises(SystemExit) as exit:
        load_settings(PROGRAMS[program], program, ["--version"], {})
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"{program} {VERSION}\n"


@pytest.mark.parametrize("address", ["host", "host:", ":9000", "host:0", "host:70000", "host:x"])
def test_it_refuses_an_address_that_is_not_host_and_port(capsys, address):
    with pytest.raises(SystemExit):
        load_settings(master.settings.Settings, "mschedule-master", ["--advertise", address], {})
    assert "must be host:port" in capsys.readouterr().err


def agent_settings(*argv: str, **environ: str) -> agent.settings.Settings:
    return load_settings(agent.settings.Settings, "agent", argv, environ)


def test_an_agent_serves_all_queues_unless_some_are_named(config):
    file = config('queues = "nightly"\n')
    assert agent_settings().queue_names() == []
    assert agent_settings("--queues", "scans, backups").queue_names() == ["scans", "backups"]
    assert agent_settings(MSCHEDULE_QUEUES="a.b_c-1").queue_names() == ["a.b_c-1"]
    assert agent_settings("--config", file).queue_names() == ["nightly"]


@pytest.mark.parametrize(
    ("names", "right"),
    [
        ("a,,b", "names of queues with commas"),
        ("a b", "names of queues with commas"),
        ("a,é", "names of queues with commas"),
        ("x" * 64, "names of queues with commas"),
        ("a,b,a", "each queue once"),
        (",".join(f"q{number}" for number in range(65)), "at most 64"),
    ],
)
def test_it_says_what_is_wrong_with_the_names_of_queues(capsys, names, right):
    with pytest.raises(SystemExit) as exit:
        agent_settings("--queues", names)
    assert exit.value.code == 2
    assert right in capsys.readouterr().err


@pytest.mark.parametrize("settings", [agent.settings.Settings, webserver.settings.Settings])
def test_it_reads_the_join_string_from_a_file_that_may_be_gone(tmp_path, settings):
    file = tmp_path / "join"
    assert settings(join_file=file).join_string() is None
    file.write_text("mschedule://host:9000?key=k&token=t\n")
    assert settings(join_file=file).join_string() == "mschedule://host:9000?key=k&token=t"
    assert settings(join="given", join_file=file).join_string() == "given"
    assert settings().join_string() is None


def test_it_says_that_a_join_file_cannot_be_read(tmp_path):
    with pytest.raises(StartError, match="cannot be read"):
        agent.settings.Settings(join_file=tmp_path).join_string()


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_it_refuses_a_file_without_certificates(capsys, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit):
        load_settings(PROGRAMS["mschedule-master"], "master", [f"--callback-ca={path}"], {})
    error = capsys.readouterr().err
    assert "callback_ca" in error
    assert f"must be a file of certificates in PEM; {path}" in error
