"""Tokens of keys and of texts, and what a text matches."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.syslog.templates.matching import Index, matches
from triage.syslog.templates.tokens import MANY, pattern_of, text_of, tokens_of, words_of

KEYS = st.text(alphabet=" ab*:,.=()[]#'Mon", max_size=40) | st.lists(
    st.sampled_from(["**", "up", "Mon", "KB", "(", ")", ",", ":", "=", "a.b", "'", "x"]),
    max_size=14,
).flatmap(lambda words: st.sampled_from([" ".join(words), "".join(words)]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("load average: **", "load average: **, **, **"),
        ("speeds ( ** )", "speeds ( ** ** ** )"),
        ("from ** (**)", "from ** ()"),
        ("to **", "to **:**"),
        ("client **", "client **#**"),
        ("at **", "at Sun Jul ** **"),
        ("sent ** to", "sent ** KB to"),
    ],
)
def test_a_value_is_one_token_however_it_is_written(one: str, other: str) -> None:
    assert tokens_of(one) == tokens_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("link up", "link down"), ("**=**", "**"), ("a ** b **", "a **"), ("x: ** **", "x **: **")],
)
def test_other_tokens(one: str, other: str) -> None:
    assert tokens_of(one) != tokens_of(other)


@given(KEYS)
def test_the_text_of_a_key_has_its_tokens(key: str) -> None:
    words = words_of(key)
    text = text_of(words, [False] * len(words.tokens))
    assert pattern_of(text) == words.tokens == tokens_of(key)
    assert list(words.ends) == sorted(words.ends)
    assert len(words.ends) == len(words.shown) == len(words.tokens)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("a ** c", "a b c", True),
        ("a ** c", "a b b c", False),
        ("a ** ** c", "a b c", True),
        ("a ** ** c", "a b , b = c c", True),
        ("a ** ** c", "a c", False),
        ("a ** ** c ** ** e", "a b c d e", True),
        ("a ** ** c ** ** e", "a c c e", False),
        ("a ** ** c d ** ** e", "a x c d c d y e", True),
        ("** **", "anything at all", True),
        ("a ** **", "a", False),
        ("up", "down", False),
    ],
)
def test_matches(text: str, key: str, expected: bool) -> None:
    assert matches(pattern_of(text), tokens_of(key)) is expected
    assert (Index([(pattern_of(text), 7, 0)]).find(tokens_of(key)) == 7) is expected


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc*+"), max_size=6))
def test_an_index_finds_what_a_regular_expression_would(key: list[str], text: list[str]) -> None:
    pattern = tuple({"*": "**", "+": MANY}.get(token, token) for token in text)
    expression = "".join({"*": "[abc],", "+": "(?:[abc],)+"}.get(t, f"{t},") for t in text)
    expected = re.fullmatch(expression, "".join(f"{token}," for token in key)) is not None
    assert matches(pattern, tuple(key)) is expected


def test_the_oldest_wins_then_the_most_special() -> None:
    texts = [("a ** c", 1, 2), ("a b c", 2, 2), ("** b c", 3, 1), ("a ** **", 4, 1)]
    index = Index((pattern_of(text), number, age) for text, number, age in texts)
    assert index.find(tokens_of("a b c")) == 3
    assert index.find(tokens_of("a x c")) == 4
    assert index.find(tokens_of("x x x")) == 0
