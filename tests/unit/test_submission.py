"""What is refused of a submission, and in which words."""

import base64
from typing import Any

import pytest

from master.submission import check, check_key
from wire.errors import InvalidValue, Refusal, TooLarge
from wire.requests import Submission


def make(**fields: Any) -> Submission:
    return Submission(**({"script": "echo hello\n", "targets": ["a" * 32]} | fields))


def test_it_takes_a_plain_submission() -> None:
    plan = check(make())
    assert plan.script == b"echo hello\n"
    assert (plan.parallel, plan.fail_count, plan.fail_rate) == (1, None, None)


def test_it_takes_any_bytes_as_base64() -> None:
    script = b"printf '\\000'\xff\x00\r\n"
    coded = base64.b64encode(script).decode()
    assert check(make(script=None, script_base64=coded)).script == script


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"script": ""}, "script", "empty"),
        ({"script": None}, "script", "empty"),
        ({"script_base64": "ZWNobw=="}, "script_base64", "both"),
        ({"script": None, "script_base64": "§"}, "script_base64", "base64"),
        ({"script": None, "script_base64": ""}, "script_base64", "empty"),
        ({"script": "\ud800"}, "script", "surrogate"),
        ({"targets": []}, "targets", "at least one"),
        ({"targets": ""}, "targets", "at least one"),
        ({"timeout": -1.0}, "timeout", "-1.0"),
        ({"timeout": float("nan")}, "timeout", "nan"),
        ({"timeout": float("inf")}, "timeout", "inf"),
        ({"grace": -0.5}, "grace", "seconds"),
        ({"expires_in": 0.0}, "expires_in", "seconds"),
        ({"lost_after": 0.0}, "lost_after", "seconds"),
        ({"parallel": -1}, "parallel", "-1"),
        ({"parallel": "0%"}, "parallel", "1%"),
        ({"parallel": "101%"}, "parallel", "100%"),
        ({"parallel": "ten"}, "parallel", "ten"),
        ({"fail_rate": 1.1}, "fail_rate", "1.1"),
        ({"fail_rate": -0.1}, "fail_rate", "0 to 1"),
        ({"fail_rate": float("nan")}, "fail_rate", "nan"),
        ({"fail_count": -2}, "fail_count", "-2"),
        ({"fail_count": -1, "fail_rate": 0.5}, "fail_count", "contradicts"),
        ({"on_limit": "explode"}, "on_limit", "finish or kill"),
        ({"offline": "maybe"}, "offline", "wait or skip"),
        ({"priority": 5000}, "priority", "1000"),
        ({"args": ["a\0b"]}, "args", "NUL"),
        ({"args": ["x"] * 1001}, "args", "1000"),
        ({"args": ["x" * 200_000]}, "args", "bytes"),
        ({"env": {"1A": "x"}}, "env", "1A"),
        ({"env": {"MSCHEDULE_TASK_ID": "x"}}, "env", "MSCHEDULE_"),
        ({"env": {"A": "\0"}}, "env", "NUL"),
        ({"env": {"A": "x" * 200_000}}, "env", "bytes"),
        ({"user": "root; rm"}, "user", "name of a user"),
        ({"cwd": "tmp"}, "cwd", "begins with /"),
        ({"name": "a\nb"}, "name", "printable"),
        ({"name": "x" * 201}, "name", "200"),
    ],
)
def test_it_names_the_field_and_what_would_be_right(
    fields: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        check(make(**fields))
    assert caught.value.field == field
    assert said in caught.value.message


def test_a_script_may_have_a_mebibyte_and_no_more() -> None:
    assert len(check(make(script="x" * (1 << 20))).script) == 1 << 20
    with pytest.raises(TooLarge):
        check(make(script="x" * ((1 << 20) + 1)))


@pytest.mark.parametrize(
    ("count", "rate", "meant"),
    [(None, None, (None, None)), (-1, None, (None, None)), (-1, 0.0, (None, None)),
     (0, None, (0, None)), (None, 0.0, (None, 0.0)), (2, 0.5, (2, 0.5))],
)  # fmt: skip
def test_it_tells_no_limit_from_a_limit_of_none(
    count: int | None, rate: float | None, meant: tuple[int | None, float | None]
) -> None:
    plan = check(make(fail_count=count, fail_rate=rate))
    assert (plan.fail_count, plan.fail_rate) == meant


@pytest.mark.parametrize("key", ["", "x" * 201, "ä", "a\nb"])
def test_it_refuses_a_key_that_no_header_should_carry(key: str) -> None:
    with pytest.raises(Refusal):
        check_key(key)
