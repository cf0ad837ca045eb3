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

_FEW: Final = 4
"""Instead of these numbers where the words are known, or a text has begun with a value."""
_KNOWN: Final = 0.5
"""Share of the words that have to be known for that."""
_THINGS: Final = 4
"""At least so many names are shared by beginnings that are words of state."""
_SHARED: Final = 0.5
"""And this share of a beginning's names."""
_OFTEN: Final = 0.05
"""A text that makes up this share of the lines, and has two words or more, stays as it is..."""
_OFTENER: Final = 3.0
"""... if it is so many times as frequent as the mean of them, too."""

_LIKELY: Final = 0.2
"""A word of this weight may be a value, in a beginning."""

_CLOSING: Final = {"(": ")", "[": "]", "{": "}", "<": ">", '"': '"', "'": "'", "`": "'"}

Spans = list[tuple[int, int, int]]
"""Row, and where the free text begins and ends in it."""


def with_gaps(
    words: Mapping[str, Words], lines: Mapping[str, int], weights: Mapping[str, float]
) -> dict[str, Words]:
    """Return the keys' words with free text as one `MANY`; `lines` of each key.

    `weights` are of words that are known to be values, or parts of such texts.
    """
    found = with_things(words)
    veil = _Veil(weights)
    veils: dict[Tokens, Tokens] = {}
    for _ in range(_PASSES):
        by_tokens: dict[Tokens, list[str]] = {}
        for key, one in found.items():
            by_tokens.setdefault(one.tokens, []).append(key)
        veils.update((row, veil.over(row)) for row in by_tokens if row not in veils)
        rows = sorted(by_tokens, key=lambda row: (veils[row], row))
        counts = [sum(lines.get(key, 1) for key in by_tokens[row]) for row in rows]
        spans = list(_gaps(rows, [veils[row] for row in rows], counts, weights))
        for row, start, end in spans:
            for key in by_tokens[rows[row]]:
                found[key] = _closed(found[key], start, end)
        if not spans:
            break
    return found


def _closed(words: Words, start: int, end: int) -> Words:
    while start > 1 and words.tokens[start - 1] in (WILDCARD, MANY):
        start -= 1
    while end < len(words.tokens) and words.tokens[end] in (WILDCARD, MANY):
        end += 1
    blank = " " if words.shown[start].startswith(" ") else ""
    return Words(
        (*words.tokens[:start], MANY, *words.tokens[end:]),
        (*words.shown[:start], blank + MANY, *words.shown[end:]),
        (*words.ends[:start], words.ends[end - 1], *words.ends[end:]),
    )


def _gaps(
    rows: Sequence[Tokens],
    veiled: Sequence[Tokens],
    counts: Sequence[int],
    weights: Mapping[str, float],
) -> Iterator[tuple[int, int, int]]:
    """Give each row's first free text. Rows are sorted: those that begin alike are neighbours."""
    stack = [(0, len(rows), 0)] if rows else []
    while stack:
        low, high, depth = stack.pop()
        begun = _begun(veiled[low][:depth])
        if begun:
            spans = _free(_Beginning(rows, low, high, depth), begun, weights)
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
            if len(members) >= (_FEW if weights else _KEYS):
                stack.append((members[0], members[-1] + 1, depth + 1))


class _Veil:
    """Makes rows in which what is likely to be a value does not tell beginnings apart."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._known: dict[tuple[str, str, str], str] = {}

    def over(self, row: Tokens) -> Tokens:
        """Return a row with these tokens as `**`."""
        known = self._known
        return tuple(
            known.get(three) or self._token(*three)
            for three in zip(("", "", *row), ("", *row), row, strict=False)
        )

    def _token(self, before: str, last: str, token: str) -> str:
        likely = max(weight(token), self._weights.get(token, 0.0)) * factor(before, last)
        shown = WILDCARD if is_word(token) and likely >= _LIKELY else token
        self._known[before, last, token] = shown
        return shown


def _begun(beginning: Tokens) -> int:
    """Return how many words tell what a message is about."""
    return sum(is_word(token) and weight(token) > 0 for token in beginning[tagged(beginning) :])


class _Beginning:
    """Rows that begin alike, and what follows this beginning."""

    def __init__(self, rows: Sequence[Tokens], low: int, high: int, depth: int) -> None:
        self.rows = rows
        self.depth = depth
        self.first = rows[low]
        self.last = self.first[depth - 1]
        self.longer = [row for row in range(low, high) if len(rows[row]) > depth]
        self.words = {rows[row][depth] for row in self.longer}

    @property
    def opening(self) -> str:
        """The bracket or the quotation mark that opened just before, with or without a value."""
        last = self.first[self.depth - 2] if self.last == WILDCARD else self.last
        return last if last in _CLOSING else ""

    def evidence(self, weights: Mapping[str, float]) -> float:
        """Return how much what follows looks like values."""
        return sum(
            max(weight(word), weights.get(word, 0.0))
            for word in self.words
            if is_word(word) or word == WILDCARD
        ) * factor(self.first[self.depth - 2] if self.depth > 1 else "", self.last)

    def known(self, weights: Mapping[str, float]) -> bool:
        """Tell whether most of the words that follow are known from other such places."""
        words = [word for word in self.words if is_word(word)]
        return len(words) > 1 and sum(word in weights for word in words) >= _KNOWN * len(words)


def _free(begun: _Beginning, own: int, weights: Mapping[str, float]) -> Spans:
    """Return the free texts of rows that begin alike up to here, if these are free texts."""
    rows, longer, depth, last = begun.rows, begun.longer, begun.depth, begun.last
    known = begun.known(weights)
    if len(begun.words) < (_FEW if known or last == WILDCARD else _DIFFERENT):
        return []
    marked = bool(begun.opening) or last == "=" or (known and own > (last != ":"))
    if not marked and (own < 2 or not _same_words(rows, longer, depth)):
        return []
    if begun.evidence(weights) < (_ENCLOSED if marked else _BARE):
        return []
    if begun.opening:
        return _uneven(_enclosed(rows, longer, depth, begun.opening), known)
    return _uneven(_bare(rows, longer, depth), known)


def _seldom(spans: Spans, rows: Sequence[Tokens], counts: Sequence[int]) -> Spans:
    """Leave out the texts that make up much of the lines."""
    often = max(_OFTEN, _OFTENER / len(spans)) * sum(counts[row] for row, _, _ in spans)
    return [
        (row, start, end)
        for row, start, end in spans
        if counts[row] < often or sum(map(is_word, rows[row][start:end])) < 2
    ]


def _same_words(rows: Sequence[Tokens], longer: Sequence[int], depth: int) -> bool:
    first = {rows[row][depth] for row in longer}
    second = [w for row in longer for w in rows[row][depth + 1 : depth + 2] if is_word(w)]
    return bool(second) and sum(word in first for word in second) >= _SAME_WORDS * len(second)


def _enclosed(rows: Sequence[Tokens], longer: Sequence[int], depth: int, opening: str) -> Spans:
    spans: Spans = []
    closing = _CLOSING[opening]
    for row in longer:
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


def _uneven(spans: Spans, known: bool) -> Spans:
    """Return these texts if they are of different lengths."""
    if len(spans) < (_FEW if known else _KEYS):
        return []
    lengths = Counter(end - start for _, start, end in spans)
    return spans if len(spans) - max(lengths.values()) >= _UNEVEN * len(spans) else []


def with_things(words: Mapping[str, Words]) -> dict[str, Words]:
    """Return the keys' words with what is begun and ended under the same name as one `MANY`.

    "Started Login Service", "Stopping Login Service...": where several texts follow each of several
    beginnings that consist of words of state alone, they are the names of things.
    """
    texts: dict[tuple[Tokens, Tokens], list[str]] = {}
    for key, one in words.items():
        spot = _thing(one.tokens)
        if spot:
            start, end = spot
            text = (*one.tokens[start : end - 1], one.tokens[end - 1].rstrip("."))
            texts.setdefault((one.tokens[:start], text), []).append(key)
    follow: dict[Tokens, set[Tokens]] = {}
    for begin, text in texts:
        follow.setdefault(text, set()).add(begin)
    shared: Counter[Tokens] = Counter()
    total: Counter[Tokens] = Counter()
    for begin, text in texts:
        total[begin] += 1
        shared[begin] += any(
            other[: tagged(begin)] == begin[: tagged(begin)] != other
            for other in follow[text]
            if other != begin
        )
    found = dict(words)
    for (begin, text), keys in texts.items():
        if shared[begin] >= max(_THINGS, total[begin] * _SHARED):
            for key in keys:
                found[key] = _closed(words[key], len(begin), len(begin) + len(text))
    return found


def _thing(row: Tokens) -> tuple[int, int] | None:
    """Return where the rest after words of state begins and ends, if a key begins with these."""
    skip = tagged(row)
    start = skip
    while start < len(row) and is_word(row[start]) and weight(row[start]) == 0:
        if start > skip and row[start][:1].isupper():
            break  # "Started Login Service"
        start += 1
    end = len(row)
    while end > start and not is_word(row[end - 1]) and row[end - 1] not in (WILDCARD, MANY):
        end -= 1
    if not skip < start < end or WILDCARD in row[start:end] or MANY in row[start:end]:
        return None  # what has parameters is a message of its own
    return start, end
