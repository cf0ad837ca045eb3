"""Which template a key belongs to.

Rules
- The oldest template that matches wins, and of equally old ones the most specific: the one with
  most constant tokens, then with fewest wildcards, then the smallest id. So what is learnt later
  never takes a key away from a template that had it.
- A catch-all (`model`) is the last resort, however old.
- Texts without `** **` are found in a tree, by number of tokens and then token by token; the few
  others are tried one by one, those first whose beginning fits.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from triage.syslog.tables import WILDCARD
from triage.syslog.templates.tokens import MANY, Tokens

Rank = tuple[int, int, int, int]
"""Age (0 is the oldest), constant tokens (negative), wildcards, id."""


class _Tree:
    """A place in the tree of patterns of one length."""

    __slots__ = ("below", "ends")

    def __init__(self) -> None:
        self.below: dict[str, _Tree] = {}
        self.ends: list[Rank] = []


class Index:
    """Templates, to be looked up by key."""

    def __init__(self, templates: Iterable[tuple[Tokens, int, int]]) -> None:
        """Take each template's pattern, id and age."""
        self._trees: dict[int, _Tree] = {}
        self._open: dict[str, list[tuple[Rank, list[Tokens]]]] = {}
        for pattern, number, age in templates:
            self._add(pattern, number, age)

    def _add(self, pattern: Tokens, number: int, age: int) -> None:
        wild = sum(token in (WILDCARD, MANY) for token in pattern)
        rank = (age, wild - len(pattern), wild, number)
        if MANY in pattern:
            self._open.setdefault(pattern[0], []).append((rank, _pieces(pattern)))
            return
        tree = self._trees.setdefault(len(pattern), _Tree())
        for token in pattern:
            tree = tree.below.setdefault(token, _Tree())
        tree.ends.append(rank)

    def find(self, tokens: Tokens) -> int:
        """Return the id of the template that a key's tokens belong to, or 0."""
        return min(self.ranks(tokens), default=(0, 0, 0, 0))[3]

    def ranks(self, tokens: Tokens) -> list[Rank]:
        """Return all templates that match a key's tokens."""
        return [*self._closed(tokens), *self._opened(tokens)]

    def _closed(self, tokens: Tokens) -> Iterator[Rank]:
        trees = [self._trees[len(tokens)]] if len(tokens) in self._trees else []
        for token in tokens:
            wanted = (token,) if token == WILDCARD else (token, WILDCARD)
            trees = [tree.below[kind] for tree in trees for kind in wanted if kind in tree.below]
            if not trees:
                break
        for tree in trees:
            yield from tree.ends

    def _opened(self, tokens: Tokens) -> Iterator[Rank]:
        for first in {*tokens[:1], WILDCARD, MANY}:
            for rank, pieces in self._open.get(first, ()):
                if _match(pieces, tokens):
                    yield rank


def matches(pattern: Tokens, tokens: Tokens) -> bool:
    """Tell whether a pattern matches a key's tokens."""
    if MANY not in pattern:
        return len(pattern) == len(tokens) and _fits(pattern, tokens, 0)
    return _match(_pieces(pattern), tokens)


def _match(pieces: list[Tokens], tokens: Tokens) -> bool:
    """Tell whether tokens are these pieces, in this order, with one token or more between them."""
    head, tail = pieces[0], pieces[-1]
    end = len(tokens) - len(tail)
    if end <= len(head) or not _fits(head, tokens, 0) or not _fits(tail, tokens, end):
        return False
    place = len(head)
    for piece in pieces[1:-1]:  # each as early as can be: that leaves most for the rest
        place += 1
        while place + len(piece) < end and not _fits(piece, tokens, place):
            place += 1
        if place + len(piece) >= end:
            return False
        place += len(piece)
    return place < end


def _pieces(pattern: Tokens) -> list[Tokens]:
    pieces: list[Tokens] = []
    start = 0
    for place, token in enumerate(pattern):
        if token == MANY:
            pieces.append(pattern[start:place])
            start = place + 1
    return [*pieces, pattern[start:]]


def _fits(piece: Tokens, tokens: Tokens, at: int) -> bool:
    for place, constant in enumerate(piece, at):
        if constant != tokens[place] and constant != WILDCARD:
            return False
    return True
