"""Whatever is typed or sent as a join string or an expression: a value, or a refusal in words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from master.targets import Fleet, Host
from wire.errors import InvalidValue
from wire.keys import Join, make_keys, parse_join

KEY = make_keys().public
FLEET = Fleet(Host(f"{n:032x}", f"web{n:02}", {"env": "prod"}) for n in range(30))
# Of what join strings and expressions are made, so that most examples get far.
joins = st.lists(
    st.sampled_from(["mschedule://", "host", ":9000", "[::1]", "?", "key=", KEY, "&", "token=x"])
    | st.text(max_size=8),
    max_size=8,
).map("".join)
expressions = st.lists(
    st.sampled_from(["web", "[", "]", "01-20", ",", "!", "&", "^", "@", "env:prod", "*", "?", "/2"])
    | st.text(max_size=6)
    | st.integers().map(str),
    max_size=10,
).map("".join)

fuzz = settings(max_examples=300)


@fuzz
@given(joins)
def test_a_join_string_is_one_or_is_refused_in_words_that_tell_no_token(text):
    try:
        join = parse_join(text)
    except ValueError as error:
        assert str(error)
        assert "token=x" not in str(error)
    else:
        assert parse_join(str(join)) == join


@fuzz
@given(
    st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True).filter(lambda host: host[0].isalnum()),
    st.integers(1, 65535),
    st.text(min_size=1, max_size=60).filter(lambda text: text == text.strip()),
)
def test_a_join_string_that_was_made_is_read_as_it_was_meant(host, port, token):
    join = Join(host, port, KEY, token)
    assert parse_join(str(join)) == join


@fuzz
@given(expressions)
def test_an_expression_names_hosts_that_there_are_or_is_refused(text):
    try:
        ids = FLEET.resolve(text)
    except InvalidValue as refusal:
        assert refusal.message
    else:
        assert set(ids) <= set(FLEET.by_id)
        assert len(set(ids)) == len(ids)
