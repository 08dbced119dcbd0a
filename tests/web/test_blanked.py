"""No text of JSON that is shown again has secrets in it, however wrong it is."""

import json

import pytest

from webserver import blanked as module
from webserver.blanked import blanked
from webserver.body import parse_json
from wire.errors import Malformed
from wire.plans import PlanSpec

VALUE = "hunter2"


def plan(**task):
    return {"name": "ship", "steps": [{"name": "try", "tasks": [{"targets": "@*", **task}]}]}


def text_of(**task):
    return json.dumps(plan(**task), indent=2)


@pytest.mark.parametrize("field", ["secrets", "secret_files"])
def test_the_rest_stays_as_it_was_typed(field):
    text = text_of(script='echo "}" # \\ {"secrets": 1}', **{field: {"TOKEN": VALUE, "B": ""}})
    found = blanked(text)
    assert found.text == text.replace(VALUE, "")
    assert (found.names_secrets, found.took_out) == (True, True)
    assert blanked(found.text) == module.Blanked(found.text, names_secrets=True)


def test_a_text_without_secrets_is_not_touched():
    for text in (text_of(script="true", env={"A": "b"}), "", "{", '{"name": "secrets"}', "[1, 2"):
        assert blanked(text) == module.Blanked(text)


def test_parameters_are_taken_out_unless_they_are_known_to_be_open():
    text = text_of(saved={"parameters": {"env": "prod", "key": VALUE}, "script": "ship"})
    found = blanked(text, {"env"})
    assert found.text == text.replace(VALUE, "")
    assert "prod" not in blanked(text).text


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": [{"tasks": [{"secrets": {"A": "hunter2"}, "targets": "@*",}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": "hunter2}}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": hunter2"}}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A" "hunter2"}}]}]}',
        '{"steps": [{"tasks": [{"secrets" {"A": "hunter2"}}]}]}',
        '{"steps": [{"tasks": [{"secrets": "hunter2"}]}]}',
        '{"steps": [{"tasks": [{"secrets": ["hunter2", ["hunter2"]]}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": {"B": "hunter2"}}}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": "x", "B": "hunter2"',
        '{"steps": [{"tasks": [{"secrets": {"A": "-----BEGIN\nhunter2\n-----END"}}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": "-----BEGIN\nhunter2\n-----END"},}]}]}',
        '{"steps": [{"tasks": [{"secrets": {"A": "say "hunter2", "B": "x"}}]}]}',
        '{"steps": [{"tasks": [{"secr\\u0065ts": {"A": "hunter2"}}]}]}',
        '{"steps": [{"tasks": [{"Secrets": {"A": "hunter2"}}]}]}',
        "{'steps': [{'tasks': [{'secrets': {'A': 'hunter2'}}]}]}",
        "{steps: [{tasks: [{secrets: {A: hunter2}}]}]}",
        '"secrets": {"A": "hunter2"}',
        '{"saved": {"script": "x", "parameters": {"A": "hunter2"',
        '{"saved": {"script": "x", "parameters": {"A" "hunter2"}}}',
        '{"saved": {"script": "x", "parameters": "hunter2"}}',
        '{"secrets": {"A": 1, "B": "\\"hunter2\\""}}',
    ],
)
def test_what_is_wrong_with_a_text_saves_no_secret(text):
    found = blanked(text)
    assert VALUE not in found.text
    assert found.took_out


def test_a_text_that_takes_too_long_to_read_is_taken_out_whole(monkeypatch):
    monkeypatch.setattr(module, "MOST_TOKENS", 50)
    assert blanked("[" * 51) == module.Blanked("", names_secrets=True, took_out=True)
    assert blanked("[" * 50).text == "[" * 50


@pytest.mark.parametrize(
    "wrong", [{"priority": "high"}, {"secrets": {"A": ["b"]}}, {"saved": {"parameters": {"A": 1}}}]
)
def test_a_sentence_about_a_wrong_field_quotes_no_secret(wrong):
    body = json.dumps({"steps": [{"tasks": [{"secrets": {"A": VALUE}, **wrong}], "name": "x"}]})
    with pytest.raises(Malformed, match="takes") as refused:
        parse_json(body.encode(), PlanSpec)
    assert VALUE not in str(refused.value)
