"""From distinct keys to templates' texts: which words are constant, and which vary.

Theory of operation
    Keys with equally many tokens are compared. Take one place out of them (or two): those that are
    equal in all other places share a skeleton, and differ in that place alone. How many different
    words stand there, what they look like and what stands before them (`looks`) tells whether the
    place is variable: every word counts `weight` x `factor`, and from 1 on the place is a `**`.
    Few different words stay apart: they are states ("link up", "link down") rather than values.
    What became equal is one key from then on; it goes on until nothing changes.

    Skeletons are compared as sums of 64-bit numbers, one for each token and place, so that a round
    is a few sorts of numbers. Two different skeletons have equal sums once in 10^19 pairs, and the
    numbers are the same in every run.

Rules
- Free text comes first (`freetext`): it makes keys of equal length of what had any.
- The result depends on the set of keys alone.
- A program's name is never variable, nor is punctuation; at least one word stays constant, and
  where two places vary at once, at least two.
- Templates known before count as evidence and are not changed.

Pure.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triage.syslog.tables import WILDCARD
from triage.syslog.templates.freetext import with_gaps
from triage.syslog.templates.looks import SURE, boolean, factor, is_word, weight
from triage.syslog.templates.matching import Index
from triage.syslog.templates.tokens import MANY, Tokens, Words, tagged, text_of

RARE = 0.2
"""A pattern with a smaller share of another one's lines may be absorbed by it."""

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerSettings:
    """What tells constant words from variable ones, and the miner's bounds."""

    evidence: float = 1.0
    """How much it takes to call a place variable; less merges more. `looks` has the weights."""
    first_word: float = 0.5
    """Factor for a message's first word: it mostly says what the message is about."""
    keys: int = 50_000
    """At most so many keys are mined at once, those with most lines."""
    tokens: int = 2_000_000
    """At most so many tokens are in those keys."""
    program: int = 2_000
    """At most so many templates of one program are learnt at once, those with most lines."""
    rounds: int = 8
    """At most so many times all places are gone through."""
    pair_tokens: int = 40
    """Pairs of places are tried in keys of at most so many tokens."""


def mine(
    words: Mapping[str, Words],
    lines: Mapping[str, int],
    known: Sequence[Tokens] = (),
    settings: MinerSettings | None = None,
) -> list[str]:
    """Return the texts of the templates of these keys, sorted.

    `words` and `lines` are by key; `known` are the patterns of templates there are.
    """
    settings = settings or MinerSettings()
    words = {key: one for key, one in with_gaps(words, lines).items() if one.tokens}
    blocks: dict[int, list[Tokens]] = defaultdict(list)
    for pattern in dict.fromkeys((*(one.tokens for one in words.values()), *filter(None, known))):
        blocks[len(pattern)].append(pattern)
    became: dict[Tokens, Tokens] = {}
    for _, patterns in sorted(blocks.items()):
        became.update(_Block(patterns, settings).refined())
    members: dict[Tokens, list[str]] = defaultdict(list)
    for key, one in words.items():
        members[became[one.tokens]].append(key)
    for special in _absorbed(members, lines):
        del members[special]
    return sorted({_text(pattern, keys, words) for pattern, keys in members.items()})


def _text(pattern: Tokens, keys: Sequence[str], words: Mapping[str, Words]) -> str:
    key = min(keys, key=lambda key: (-key.count(WILDCARD), key))  # values in full
    return text_of(words[key], [token == WILDCARD for token in pattern])


def _absorbed(
    members: Mapping[Tokens, Sequence[str]], lines: Mapping[str, int]
) -> Iterator[Tokens]:
    """Give the patterns whose words are but values in the variable places of another.

    Three places that vary at once are found this way: where two of them were found variable, the
    keys that differ in the third as well fit what came out.
    """
    patterns = sorted(members)
    index = Index((pattern, number, 0) for number, pattern in enumerate(patterns))
    counts = [sum(lines.get(key, 1) for key in members[pattern]) for pattern in patterns]
    for number, pattern in enumerate(patterns):
        if MANY in pattern:
            continue
        for _, _, _, other in index.ranks(pattern):
            general = patterns[other]
            if other != number and _is_value(pattern, general, counts[number] / counts[other]):
                yield pattern
                break


def _is_value(special: Tokens, general: Tokens, share: float) -> bool:
    if MANY in general:
        return share < RARE
    places = [at for at, token in enumerate(general) if token != special[at]]
    return share < RARE and all(
        weight(special[at]) > 0 and at >= tagged(general) + 1 for at in places
    )


class _Block:
    """Patterns of one length: a row for each, a column for each place."""

    def __init__(self, patterns: list[Tokens], settings: MinerSettings) -> None:
        self._settings = settings
        self._first = sorted(patterns)
        self._length = len(patterns[0])
        self._vocabulary = sorted({token for row in patterns for token in row} | {WILDCARD})
        number = {token: index for index, token in enumerate(self._vocabulary)}
        self._wild = number[WILDCARD]
        self._cells = np.array([[number[t] for t in row] for row in self._first], dtype=np.int32)
        self._row = np.arange(len(self._first))
        """Of each pattern, the row that it is now."""
        self._word = np.array([is_word(t) or t == WILDCARD for t in self._vocabulary])
        self._hashed()

    def _hashed(self) -> None:
        self._hashes = np.column_stack(
            [_mixed(self._cells[:, place], place) for place in range(self._length)]
        )
        self._sums = self._hashes.sum(axis=1, dtype=np.uint64)

    def refined(self) -> dict[Tokens, Tokens]:
        """Return what each pattern is with its variable places as wildcards."""
        for _ in range(self._settings.rounds):
            changed = False
            for place in range(self._length):
                changed |= self._try((place,))
            if not changed and self._length <= self._settings.pair_tokens:
                for places in itertools.combinations(range(self._length), 2):
                    changed |= self._try(places)
            if not changed:
                break
            self._unite()
        rows = [self._tokens(row) for row in self._cells]
        return {pattern: rows[self._row[i]] for i, pattern in enumerate(self._first)}

    def _tokens(self, row: npt.NDArray[np.int32]) -> Tokens:
        return tuple(self._vocabulary[number] for number in row)

    def _unite(self) -> None:
        self._cells, where = np.unique(self._cells, axis=0, return_inverse=True)
        self._row = where.reshape(-1)[self._row]
        self._hashed()

    def _try(self, places: tuple[int, ...]) -> bool:
        changed = False
        for rows in self._alike(places):
            found = self._cells[rows]
            if self._vary(found, places):
                for place in places:
                    self._mask(rows, place)
                changed = True
        return changed

    def _mask(self, rows: Rows, place: int) -> None:
        wild = _mixed(np.array([self._wild], dtype=np.int32), place)
        self._sums[rows] += wild - self._hashes[rows, place]
        self._hashes[rows, place] = wild
        self._cells[rows, place] = self._wild

    def _alike(self, places: tuple[int, ...]) -> Iterator[Rows]:
        """Give the rows of each skeleton that more than one row has."""
        rows = np.flatnonzero(self._word[self._cells[:, places]].all(axis=1))
        if len(rows) < 2:
            return
        sums = self._sums[rows]
        for place in places:
            sums -= self._hashes[rows, place]
        order = np.argsort(sums, kind="stable")
        bounds = np.flatnonzero(np.diff(sums[order])) + 1
        starts = np.concatenate(([0], bounds))
        ends = np.concatenate((bounds, [len(rows)]))
        for index in np.flatnonzero(ends - starts > 1):
            yield rows[order[starts[index] : ends[index]]]

    def _vary(self, found: npt.NDArray[np.int32], places: tuple[int, ...]) -> bool:
        row = self._tokens(found[0])
        skip = tagged(row)
        kept = sum(is_word(t) for i, t in enumerate(row) if i >= skip and i not in places)
        if places[0] < min(skip, 1) or kept < len(places):
            return False
        return all(self._varies(np.unique(found[:, place]), row, place, skip) for place in places)

    def _varies(self, values: npt.NDArray[np.int32], row: Tokens, place: int, skip: int) -> bool:
        if len(values) < 2:
            return False
        last = row[place - 1] if place else ""
        evidence = sum(
            SURE if boolean(word, last) else weight(word)
            for word in (self._vocabulary[number] for number in values)
        )
        evidence *= factor(row[place - 2] if place > 1 else "", last)
        if place == skip:
            evidence *= self._settings.first_word
        return evidence >= self._settings.evidence - 1e-9


def _mixed(cells: npt.NDArray[np.int32], place: int) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each token number in this place (splitmix64)."""
    with np.errstate(over="ignore"):
        z = cells.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
        z += np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
