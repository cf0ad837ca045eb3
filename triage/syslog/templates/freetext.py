"""Places of keys that hold text of any length: commands, reasons, lists of words.

Theory of operation
    Keys that begin alike are a tree. Where very many different words follow one beginning, and the
    keys go on at different lengths, the rest is either free text or many different messages. It is
    free text when a bracket or a quotation mark opened just before and closes again, when it is a
    field's value (`COMMAND=`), or when the words in its second place are largely those in its
    first: in free text a word stands anywhere, in messages it has its place. What many of the keys
    end with is no part of it.

Rules
- A beginning has a word of its own besides the program's name and words of state or level, and two
  where no bracket shows the text: a program's messages are not the free text of that program.
- A text that is a large share of all lines with this beginning is a message of its own: a command
  that runs every minute, among others that ran once.
- What is found becomes one `MANY` in each of these keys; it is done `_PASSES` times, for keys with
  more than one such place.

Pure.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from triage.syslog.tables import WILDCARD
from triage.syslog.templates.looks import factor, is_word, weight
from triage.syslog.templates.tokens import MANY, Tokens, Words, tagged

_PASSES: Final = 3
_DEPTH: Final = 60
"""Beginnings of at most so many tokens are looked at."""
_KEYS: Final = 10
"""At least so many keys have such a beginning."""
_DIFFERENT: Final = 8
"""At least so many different words follow it."""
_ENCLOSED: Final = 1.0
"""Evidence (`mining`) that it takes where the text's end is marked, or it is a field's value."""
_BARE: Final = 1.5
"""The same elsewhere."""
_SAME_WORDS: Final = 0.25
"""Share of the words in the second place that stand in the first, too."""
_COMMON_END: Final = 0.2
"""What this share of the keys ends with is constant."""
_UNEVEN: Final = 0.2
"""At least this share of the texts has another length than most."""

_OFTEN: Final = 0.05
"""A text that makes up this share of the lines, and has two words or more, stays as it is."""

_LIKELY: Final = 0.2
"""A word of this weight may be a value, in a beginning."""

_CLOSING: Final = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "'": "'", "`": "'"}

Spans = list[tuple[int, int, int]]
"""Row, and where the free text begins and ends in it."""


def with_gaps(words: Mapping[str, Words], lines: Mapping[str, int]) -> dict[str, Words]:
    """Return the keys' words with free text as one `MANY`; `lines` of each key."""
    found = dict(words)
    veils: dict[Tokens, Tokens] = {}
    for _ in range(_PASSES):
        by_tokens: dict[Tokens, list[str]] = {}
        for key, one in found.items():
            by_tokens.setdefault(one.tokens, []).append(key)
        veils.update((row, _veiled(row)) for row in by_tokens if row not in veils)
        rows = sorted(by_tokens, key=lambda row: (veils[row], row))
        counts = [sum(lines.get(key, 1) for key in by_tokens[row]) for row in rows]
        spans = list(_gaps(rows, [veils[row] for row in rows], counts))
        for row, start, end in spans:
            for key in by_tokens[rows[row]]:
                found[key] = _closed(found[key], start, end)
        if not spans:
            break
    return found


def _closed(words: Words, start: int, end: int) -> Words:
    blank = " " if words.shown[start].startswith(" ") else ""
    return Words(
        (*words.tokens[:start], MANY, *words.tokens[end:]),
        (*words.shown[:start], blank + MANY, *words.shown[end:]),
        (*words.ends[:start], words.ends[end - 1], *words.ends[end:]),
    )


def _gaps(
    rows: Sequence[Tokens], veiled: Sequence[Tokens], counts: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Give each row's first free text. Rows are sorted: those that begin alike are neighbours."""
    stack = [(0, len(rows), 0)] if rows else []
    while stack:
        low, high, depth = stack.pop()
        begun = _begun(veiled[low][:depth])
        if begun:
            spans = _free(rows, low, high, depth, begun)
            if spans:
                yield from _seldom(spans, rows, counts)
                continue
        if depth >= _DEPTH:
            continue
        at = low
        while at < high and len(veiled[at]) <= depth:
            at += 1
        for _, group in itertools.groupby(range(at, high), key=lambda row: veiled[row][depth]):
            members = list(group)
            if len(members) >= _KEYS:
                stack.append((members[0], members[-1] + 1, depth + 1))


def _veiled(row: Tokens) -> Tokens:
    """Return a row in which what is likely to be a value does not tell beginnings apart."""
    return tuple(
        WILDCARD
        if is_word(token)
        and weight(token) * factor(row[at - 2] if at > 1 else "", row[at - 1]) >= _LIKELY
        else token
        for at, token in enumerate(row)
    )


def _begun(beginning: Tokens) -> int:
    """Return how many words tell what a message is about."""
    return sum(is_word(token) and weight(token) > 0 for token in beginning[tagged(beginning) :])


def _free(rows: Sequence[Tokens], low: int, high: int, depth: int, begun: int) -> Spans:
    """Return the free texts of rows that begin alike up to here, if these are free texts."""
    last = rows[low][depth - 1]
    longer = [row for row in range(low, high) if len(rows[row]) > depth]
    words = {rows[row][depth] for row in longer}
    if len(words) < _DIFFERENT:
        return []
    enclosed = last in _CLOSING
    if not enclosed and last != "=" and (begun < 2 or not _same_words(rows, longer, depth)):
        return []
    evidence = sum(weight(word) for word in words if is_word(word) or word == WILDCARD)
    evidence *= factor(rows[low][depth - 2] if depth > 1 else "", last)
    if evidence < (_ENCLOSED if enclosed or last == "=" else _BARE):
        return []
    spans = _enclosed(rows, longer, depth) if enclosed else _bare(rows, longer, depth)
    return spans if _uneven(spans) else []


def _seldom(spans: Spans, rows: Sequence[Tokens], counts: Sequence[int]) -> Spans:
    """Leave out the texts that make up much of the lines."""
    often = _OFTEN * sum(counts[row] for row, _, _ in spans)
    return [
        (row, start, end)
        for row, start, end in spans
        if counts[row] < often or sum(map(is_word, rows[row][start:end])) < 2
    ]


def _same_words(rows: Sequence[Tokens], longer: Sequence[int], depth: int) -> bool:
    first = {rows[row][depth] for row in longer}
    second = [w for row in longer for w in rows[row][depth + 1 : depth + 2] if is_word(w)]
    return bool(second) and sum(word in first for word in second) >= _SAME_WORDS * len(second)


def _enclosed(rows: Sequence[Tokens], longer: Sequence[int], depth: int) -> Spans:
    spans: Spans = []
    for row in longer:
        opening = rows[row][depth - 1]
        closing = _CLOSING[opening]
        level = 1
        for place in range(depth, len(rows[row])):
            token = rows[row][place]
            level += (token == opening != closing) - (token == closing)
            if level == 0:
                if place > depth:
                    spans.append((row, depth, place))
                break
    return spans if len(spans) * 2 > len(longer) else []


def _bare(rows: Sequence[Tokens], longer: Sequence[int], depth: int) -> Spans:
    ends: Counter[Tokens] = Counter(
        rows[row][start:]
        for row in longer
        for start in range(max(depth + 1, len(rows[row]) - _DEPTH), len(rows[row]))
    )
    spans: Spans = []
    for row in longer:
        tokens = rows[row]
        end = len(tokens)
        while end > depth + 1 and ends[tokens[end - 1 :]] >= _COMMON_END * len(longer):
            end -= 1
        spans.append((row, depth, end))
    return spans


def _uneven(spans: Spans) -> bool:
    if len(spans) < _KEYS:
        return False
    lengths = Counter(end - start for _, start, end in spans)
    return len(spans) - max(lengths.values()) >= _UNEVEN * len(spans)
