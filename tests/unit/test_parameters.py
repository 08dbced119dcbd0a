"""Are the parameters of a saved script sound, and what do the values given for them come to?"""

import pytest

from master.parameters import check_parameters, given
from wire.errors import InvalidValue
from wire.scripts import Parameter

HOSTS = {"web*": "web01 web02"}


def hostnames(expression: str) -> str:
    if expression not in HOSTS:
        raise InvalidValue(f"targets: there is no host named {expression}", field="targets")
    return HOSTS[expression]


@pytest.mark.parametrize(
    ("parameter", "text", "expected"),
    [
        (Parameter("WORD"), "any text", "any text"),
        (Parameter("WORD"), "", ""),
        (Parameter("PORT", kind="number"), "8080", "8080"),
        (Parameter("RATE", kind="number"), "-1.5e3", "-1.5e3"),
        (Parameter("ENV", kind="choice", choices=["dev", "prod"]), "prod", "prod"),
        (Parameter("ON", kind="hosts"), "web*", "web01 web02"),
        (Parameter("TAG", pattern="v[0-9]+"), "v12", "v12"),
    ],
)
def test_it_gives_the_script_the_value(parameter, text, expected):
    assert given([parameter], {parameter.name: text}, hostnames).env == {parameter.name: expected}


@pytest.mark.parametrize(
    ("parameter", "text", "said"),
    [
        (Parameter("PORT", kind="number"), "eighty", "PORT is 'eighty'; it takes a number"),
        (Parameter("PORT", kind="number"), "nan", "a number"),
        (Parameter("PORT", kind="number"), "1_000", "a number"),
        (Parameter("ENV", kind="choice", choices=["dev"]), "prod", "one of dev"),
        (Parameter("ON", kind="hosts"), "db*", "ON: there is no host named"),
        (Parameter("TAG", pattern="v[0-9]+"), "v12x", "fits v"),
        (Parameter("TAG", pattern="(a|a)*b"), "a" * 40 + "bc", "too long"),
        (Parameter("WORD"), "x" * 5000, "5000 characters"),
    ],
)
def test_it_says_what_is_wrong_with_a_value(parameter, text, said):
    with pytest.raises(InvalidValue, match=said) as refused:
        given([parameter], {parameter.name: text}, hostnames)
    assert refused.value.field == "parameters"


def test_a_default_stands_for_what_is_not_given():
    parameters = [Parameter("A", default="1"), Parameter("B", optional=True)]
    assert given(parameters, {}, hostnames).env == {"A": "1"}


def test_what_has_no_default_must_be_given():
    with pytest.raises(InvalidValue, match="WORD is missing"):
        given([Parameter("WORD")], {}, hostnames)


def test_a_value_that_the_script_does_not_know_is_refused():
    with pytest.raises(InvalidValue, match="it takes WORD"):
        given([Parameter("WORD", optional=True)], {"WROD": "x"}, hostnames)


def test_a_secret_is_kept_apart():
    found = given([Parameter("KEY", kind="secret")], {"KEY": "hunter22"}, hostnames)
    assert (found.env, found.secrets) == ({}, {"KEY": "hunter22"})


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ([Parameter("1A")], "'1A' is no name"),
        ([Parameter("MSCHEDULE_X")], "MSCHEDULE_"),
        ([Parameter("A"), Parameter("A")], "A is there twice"),
        ([Parameter("A", kind="date")], "kind of A is 'date'"),
        ([Parameter("A", kind="choice")], "needs some"),
        ([Parameter("A", choices=["x"])], "needs some"),
        ([Parameter("A", pattern="(")], "can't be read"),
        ([Parameter("A", kind="number", pattern="x")], "for the kind text"),
        ([Parameter("A", kind="secret", default="x")], "no default"),
        ([Parameter("A", kind="number", default="x")], "default of A"),
        ([Parameter(f"A{n}") for n in range(51)], "at most 50"),
    ],
)
def test_it_refuses_parameters_that_make_no_sense(parameters, said):
    with pytest.raises(InvalidValue, match=said):
        check_parameters(parameters)
