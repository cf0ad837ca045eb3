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
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triage.syslog.tables import WILDCARD
from triage.syslog.templates.freetext import with_gaps
from triage.syslog.templates.looks import FACTOR, SURE, Factors, boolean, is_word, weight
from triage.syslog.templates.matching import Index
from triage.syslog.templates.tokens import MANY, Tokens, Words, masked, tagged, text_of

RARE = 0.2
"""A pattern with a smaller share of another one's lines may be absorbed by it."""

_STAGES = 3
"""At most so many times it is gone through all keys, each time with the words learnt before."""
_ALIKE = 32
"""So many keys are looked at of those that differ in nothing but what is spelt like a value."""

_PLACES = 2
"""In so many templates a word was a value before that counts."""

Rows = npt.NDArray[np.intp]
Weights = Mapping[str, float]


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
    words = {key: one for key, one in words.items() if one.tokens}
    known = [pattern for pattern in known if pattern]
    words, lines = _sampled(words, lines, settings)
    weights: dict[str, float] = {}
    values: dict[str, set[Tokens]] = defaultdict(set)
    for _ in range(_STAGES):
        before = {one.tokens for one in words.values()}
        closed = with_gaps(words, lines, weights)
        became = _refined((*(one.tokens for one in closed.values()), *known), settings, weights)
        _see(values, words, closed, became)
        words, lines = _united(closed, lines, became)
        weights = _learnt(values, words)
        if {one.tokens for one in words.values()} == before:
            break
    members: dict[Tokens, list[str]] = defaultdict(list)
    for key, one in words.items():
        members[one.tokens].append(key)
    for special in _absorbed(members, lines):
        del members[special]
    return sorted({_text(words[min(keys)]) for keys in members.values()})


def _text(words: Words) -> str:
    return text_of(words, [False] * len(words.tokens))


def _refined(
    patterns: Iterable[Tokens], settings: MinerSettings, weights: Weights, *, join: bool = False
) -> dict[Tokens, Tokens]:
    """Return what each pattern is with its variable places as wildcards; `join`: at sight."""
    blocks: dict[int, list[Tokens]] = defaultdict(list)
    for pattern in dict.fromkeys(patterns):
        blocks[len(pattern)].append(pattern)
    became: dict[Tokens, Tokens] = {}
    for _, rows in sorted(blocks.items()):
        block = _Block(rows, settings, weights)
        became.update(block.joined() if join else block.refined())
    return became


def _sampled(
    words: Mapping[str, Words], lines: Mapping[str, int], settings: MinerSettings
) -> tuple[dict[str, Words], dict[str, int]]:
    """Return some keys of each kind that can be told at sight, with the lines of all of them."""
    became = _refined((one.tokens for one in words.values()), settings, {}, join=True)
    members: dict[Tokens, list[str]] = defaultdict(list)
    for key, one in words.items():
        members[became[one.tokens]].append(key)
    kept: dict[str, Words] = {}
    counts: dict[str, int] = {}
    for keys in members.values():
        keys.sort(key=lambda key: (-lines.get(key, 1), key))
        for key in keys[:_ALIKE]:
            kept[key], counts[key] = words[key], lines.get(key, 1)
        rest = sum(lines.get(key, 1) for key in keys[_ALIKE:])
        for key in keys[:_ALIKE]:
            counts[key] += rest // _ALIKE
    return {key: kept[key] for key in sorted(kept)}, counts


def _united(
    words: Mapping[str, Words], lines: Mapping[str, int], became: Mapping[Tokens, Tokens]
) -> tuple[dict[str, Words], dict[str, int]]:
    """Return one key of each pattern, with its variable places masked, and the lines of all."""
    members: dict[Tokens, list[str]] = defaultdict(list)
    for key, one in words.items():
        members[became[one.tokens]].append(key)
    united: dict[str, Words] = {}
    counts: dict[str, int] = {}
    for pattern, keys in sorted(members.items()):
        key = min(keys, key=lambda key: (-key.count(WILDCARD), key))  # values in full
        united[key] = masked(words[key], pattern)
        counts[key] = sum(lines[key] for key in keys)
    return united, counts


def _see(
    values: dict[str, set[Tokens]],
    words: Mapping[str, Words],
    closed: Mapping[str, Words],
    became: Mapping[Tokens, Tokens],
) -> None:
    """Add to each word the patterns in which it turned out to be (part of) a value."""
    for key, one in closed.items():
        pattern = became[one.tokens]
        kept = set(pattern)
        for token in words[key].tokens:
            if token not in kept and is_word(token) and weight(token) > 0:
                values[token].add(pattern)


def _learnt(values: Mapping[str, set[Tokens]], words: Mapping[str, Words]) -> dict[str, float]:
    """Return how much each word looks like a value, by what it was in the places known so far.

    The share of places where it was one (Laplace's rule), as a weight: of a word that always was,
    two or three suffice.
    """
    constant: Counter[str] = Counter()
    for one in words.values():
        constant.update({token for token in one.tokens if token in values})
    return {
        word: SURE * len(places) / (len(places) + constant[word] + 1)
        for word, places in values.items()
        if len(places) >= _PLACES
    }


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
        return share < RARE or sum(map(is_word, special)) == sum(map(is_word, general))
    places = [at for at, token in enumerate(general) if token != special[at]]
    return share < RARE and all(
        weight(special[at]) > 0 and at >= tagged(general) + 1 for at in places
    )


class _Block:
    """Patterns of one length: a row for each, a column for each place."""

    def __init__(self, patterns: list[Tokens], settings: MinerSettings, weights: Weights) -> None:
        self._settings = settings
        self._first = sorted(patterns)
        self._length = len(patterns[0])
        self._vocabulary = sorted({token for row in patterns for token in row} | {WILDCARD})
        number = {token: index for index, token in enumerate(self._vocabulary)}
        self._number = number
        self._wild = number[WILDCARD]
        self._cells = np.array([[number[t] for t in row] for row in self._first], dtype=np.int32)
        self._row = np.arange(len(self._first))
        """Of each pattern, the row that it is now."""
        vocabulary = [*self._vocabulary, ""]  # the last stands for what is before a key
        self._says = np.array([is_word(token) for token in vocabulary])
        self._word = self._says | np.array([token == WILDCARD for token in vocabulary])
        plain = np.array([weight(token) for token in vocabulary]) * self._word
        self._spelt = (plain >= SURE) & self._says
        learnt = np.array([weights.get(token, 0.0) for token in vocabulary])
        self._weight = np.where(plain > 0, np.maximum(plain, learnt), 0.0)
        self._boolean = np.array([boolean(token, "=") for token in vocabulary])
        self._equals = np.array([one == "=" for one in vocabulary])
        self._factors = Factors(vocabulary)
        self._hashed()

    def _hashed(self) -> None:
        self._hashes = np.column_stack(
            [_mixed(self._cells[:, place], place) for place in range(self._length)]
        )
        self._sums = self._hashes.sum(axis=1, dtype=np.uint64)
        tag = [self._number.get(token, -1) for token in ("[", WILDCARD, "]", ":")]
        self._skip = np.zeros(len(self._cells), dtype=np.intp)
        if self._length > 1:
            self._skip[self._cells[:, 1] == tag[-1]] = 2
        if self._length > 4:
            self._skip[(self._cells[:, 1:5] == tag).all(axis=1)] = 5

    def refined(self) -> dict[Tokens, Tokens]:
        """Return what each pattern is with its variable places as wildcards."""
        self._join()
        for _ in range(self._settings.rounds):
            changed = False
            for place in range(self._length):
                changed |= self._try((place,))
            if not changed and self._length <= self._settings.pair_tokens:
                for places in itertools.combinations(self._lively(), 2):
                    changed |= self._try(places)
            if not changed:
                break
            self._unite()
        return self.became()

    def became(self) -> dict[Tokens, Tokens]:
        """Return what each pattern is by now."""
        rows = [self._tokens(row) for row in self._cells]
        return {pattern: rows[self._row[i]] for i, pattern in enumerate(self._first)}

    def joined(self) -> dict[Tokens, Tokens]:
        """Return what each pattern is when its places are looked at by their spelling alone."""
        self._join()
        return self.became()

    def _join(self) -> None:
        """Mask all places at once that differ in nothing but what is spelt like a value."""
        columns = np.arange(self._length)
        veil = self._spelt[self._cells] & (columns >= np.maximum(self._skip, 1)[:, None])
        rows = np.flatnonzero(veil.any(axis=1) | (self._cells == self._wild).any(axis=1))
        if len(rows) < 2:
            return
        one = np.array([self._wild], dtype=np.int32)
        wild = np.concatenate([_mixed(one, place) for place in columns.tolist()])
        sums = np.where(veil, wild[None, :], self._hashes).sum(axis=1, dtype=np.uint64)[rows]
        groups = _Groups(rows, sums)
        if not len(groups.first):
            return
        rest = self._kept(groups.first, ()) - veil[groups.first].sum(axis=1)
        for place in range(self._length):
            if not veil[rows, place].any():
                continue
            vary = self._vary(groups, place) & (rest >= 1)
            self._mask(groups.rows[vary[groups.of]], place)
        self._unite()

    def _lively(self) -> list[int]:
        """Return the places with so many different words that they may be variable at all."""
        places = []
        for place in range(self._length):
            words = np.unique(self._cells[:, place])
            most = self._weight[words] + SURE * self._boolean[words]
            if FACTOR * most.sum() >= self._settings.evidence - 1e-9 and len(words) > 1:
                places.append(place)
        return places

    def _tokens(self, row: npt.NDArray[np.int32]) -> Tokens:
        return tuple(self._vocabulary[number] for number in row)

    def _unite(self) -> None:
        self._cells, where = np.unique(self._cells, axis=0, return_inverse=True)
        self._row = where.reshape(-1)[self._row]
        self._hashed()

    def _try(self, places: tuple[int, ...]) -> bool:
        rows = np.flatnonzero(self._word[self._cells[:, places]].all(axis=1))
        if len(rows) < 2:
            return False
        sums = self._sums[rows]
        for place in places:
            sums -= self._hashes[rows, place]
        groups = _Groups(rows, sums)
        if not len(groups.first):
            return False
        vary = self._vary(groups, places[0])
        for place in places[1:]:
            if vary.any():
                vary &= self._vary(groups, place)
        if not vary.any():
            return False
        vary &= self._kept(groups.first, places) >= len(places)
        vary &= places[0] >= np.minimum(self._skip[groups.first], 1)
        rows = groups.rows[vary[groups.of]]
        for place in places:
            self._mask(rows, place)
        return len(rows) > 0

    def _kept(self, rows: Rows, places: tuple[int, ...]) -> npt.NDArray[np.intp]:
        """Return how many words each row keeps besides its program's name and these places."""
        says = self._says[self._cells[rows]]
        says &= np.arange(self._length) >= self._skip[rows][:, None]
        says[:, places] = False
        kept: npt.NDArray[np.intp] = np.count_nonzero(says, axis=1)
        return kept

    def _mask(self, rows: Rows, place: int) -> None:
        wild = _mixed(np.array([self._wild], dtype=np.int32), place)
        self._sums[rows] += wild - self._hashes[rows, place]
        self._hashes[rows, place] = wild
        self._cells[rows, place] = self._wild

    def _vary(self, groups: _Groups, place: int) -> npt.NDArray[np.bool_]:
        """Tell of each group whether there is evidence enough that this place is variable."""
        many = len(self._vocabulary)
        pairs = np.unique(groups.of * many + self._cells[groups.rows, place])
        of, word = pairs // many, pairs % many
        last = self._before(groups.first, place, 1)
        weights = self._weight[word]
        weights = np.where(self._boolean[word] & self._equals[last][of], SURE, weights)
        evidence: npt.NDArray[np.float64] = np.bincount(
            of, weights, minlength=len(groups.first)
        ).astype(np.float64)
        evidence *= self._factors.of(self._before(groups.first, place, 2), last)
        evidence[self._skip[groups.first] == place] *= self._settings.first_word
        different = np.bincount(of, minlength=len(groups.first))
        enough: npt.NDArray[np.bool_] = evidence >= self._settings.evidence - 1e-9
        return enough & (different > 1)

    def _before(self, rows: Rows, place: int, back: int) -> npt.NDArray[np.int32]:
        if place < back:
            return np.full(len(rows), len(self._vocabulary), dtype=np.int32)
        before: npt.NDArray[np.int32] = self._cells[rows, place - back]
        return before


class _Groups:
    """Rows with equal sums, two or more of each."""

    def __init__(self, rows: Rows, sums: npt.NDArray[np.uint64]) -> None:
        order = np.argsort(sums, kind="stable")
        sums = sums[order]
        bounds = np.flatnonzero(sums[1:] != sums[:-1]) + 1
        if len(bounds) + 1 == len(rows):  # mostly
            self.rows = self.of = self.first = rows[:0]
            return
        sizes = np.diff(np.concatenate(([0], bounds, [len(rows)])))
        kept = sizes > 1
        self.rows = rows[order][np.repeat(kept, sizes)]
        """Those of a group together."""
        self.of = np.repeat(np.arange(int(kept.sum())), sizes[kept])
        """The group of each."""
        self.first = self.rows[np.cumsum(sizes[kept]) - sizes[kept]]
        """The first row of each group."""


def _mixed(cells: npt.NDArray[np.int32], place: int) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each token number in this place (splitmix64)."""
    with np.errstate(over="ignore"):
        z = cells.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
        z += np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
