"""Groups of templates whose texts are alike, by the n-grams that they share (report, 3.2.1).

Theory of operation
    A text is the set of its n-grams: runs of n characters, or of n words. Two texts are alike that
    share enough of them (`Measure`). Templates that are alike are of one group, and so are those
    that a chain of alike ones joins: the report's group of eight `named` templates holds texts that
    have little in common but what lies between them.

Rules
- A program's name and its `[**]: ` do not count: the same program is a condition of its own
  (`GroupSettings.per_program`), and would else make all its short messages alike.
- A group has the id of its founder: the least id of those that were there when it was made.
  Templates that come later join the group that has the one most like them (of equally like ones
  the group with the least id), or make new groups among themselves. They change no group's id,
  move no template, and never unite two groups.
- What groups there are depends on the templates and the groups before, not on their order.
- Templates are compared by their texts, never by their names: renaming moves nothing.

Pure. Memory: a product of sparse matrices for `_ROWS` templates of one program at a time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from scipy import sparse

from triage.syslog.tables import Group, Template

_ROWS: Final = 512
_PROGRAM: Final = re.compile(r"([^\s:\[]+)(?:\[[^\]]*\])?: ")
_WORD: Final = re.compile(r"\w+|\*\*|[^\w\s]")


class Unit(StrEnum):
    """What an n-gram is made of."""

    CHARACTER = "character"
    WORD = "word"


class Measure(StrEnum):
    """How alike two sets of n-grams are, A and B: from 0 to 1."""

    JACCARD = "jaccard"
    """|A and B| / |A or B|."""
    DICE = "dice"
    """2 |A and B| / (|A| + |B|)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """What makes templates one group."""

    n: int = 3
    """The report's."""
    unit: Unit = Unit.CHARACTER
    """Words merge far less than the report did, however low the threshold may sensibly be."""
    measure: Measure = Measure.DICE
    threshold: float = 0.33
    """At least so alike, from 0 to 1; above 1 every template is its own group. With this one, 1,000
    templates of a fleet make about half as many groups: the report's 1,147 made 531."""
    per_program: bool = True
    """Only templates of the same program (the name before `[pid]:`) make a group."""


_Alike = Mapping[int, Sequence[tuple[float, int]]]
"""Template id -> those that are alike, with how much."""


def group_templates(
    templates: Sequence[Template], settings: GroupSettings, before: Sequence[Group] = ()
) -> tuple[Group, ...]:
    """Return the groups of these templates, sorted by id; those before are among them."""
    of: dict[int, int] = {member: group.id for group in before for member in group.templates}
    by_id = {template.id: template for template in templates}
    alike = _alike([by_id[number] for number in sorted(by_id)], settings)
    new = {number for number in by_id if number not in of}
    _join(new, of, alike)
    for founder in sorted(new):
        if founder not in of:
            _found(founder, of, alike)
    return _groups(of, by_id, before)


def _join(new: set[int], of: dict[int, int], alike: _Alike) -> None:
    """Let new templates join groups there are, in rounds: first those that are alike to members."""
    while True:
        joined: dict[int, int] = {}
        for number in new - of.keys():
            found = [(-how, of[other]) for how, other in alike.get(number, ()) if other in of]
            if found:
                joined[number] = min(found)[1]
        if not joined:
            return
        of.update(joined)


def _found(founder: int, of: dict[int, int], alike: _Alike) -> None:
    """Make a group of a template and all that chains of alike ones join to it."""
    of[founder] = founder
    open_ = [founder]
    while open_:
        for _, other in alike.get(open_.pop(), ()):
            if other not in of:
                of[other] = founder
                open_.append(other)


def _groups(
    of: Mapping[int, int], by_id: Mapping[int, Template], before: Sequence[Group]
) -> tuple[Group, ...]:
    members: dict[int, list[int]] = defaultdict(list)
    for number, group in of.items():
        members[group].append(number)
    labels = {group.id: group.label for group in before}
    for number in members:
        if number in by_id:
            labels[number] = by_id[number].name or by_id[number].text
    return tuple(
        Group(id=number, templates=tuple(sorted(members[number])), label=labels[number])
        for number in sorted(members)
    )


def _alike(templates: Sequence[Template], settings: GroupSettings) -> _Alike:
    by_program: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for template in templates:
        program, message = parted(template.text)
        by_program[program if settings.per_program else ""].append((template.id, message))
    found: dict[int, list[tuple[float, int]]] = {}
    if settings.threshold <= 1:
        for _, texts in sorted(by_program.items()):
            for number, other, how in _pairs(texts, settings):
                found.setdefault(number, []).append((how, other))
    return found


def parted(text: str) -> tuple[str, str]:
    """Return a text's program and its message."""
    found = _PROGRAM.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def ngrams(message: str, settings: GroupSettings) -> frozenset[tuple[str, ...] | str]:
    """Return a message's n-grams; one that is shorter is one n-gram."""
    n = max(settings.n, 1)
    if settings.unit == Unit.CHARACTER:
        text = " ".join(message.split())
        return frozenset(text[at : at + n] for at in range(max(len(text) - n, 0) + 1))
    words = tuple(_WORD.findall(message))
    return frozenset(words[at : at + n] for at in range(max(len(words) - n, 0) + 1))


def _pairs(
    texts: Sequence[tuple[int, str]], settings: GroupSettings
) -> Iterator[tuple[int, int, float]]:
    """Give each two that are alike, both ways, and how much."""
    numbers: dict[tuple[str, ...] | str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    for row, (_, message) in enumerate(texts):
        grams = ngrams(message, settings)
        rows += [row] * len(grams)
        columns += [numbers.setdefault(gram, len(numbers)) for gram in grams]
    ones = np.ones(len(rows), dtype=np.int32)
    shape = (len(texts), len(numbers))
    has: Any = sparse.csr_array((ones, (rows, columns)), shape=shape)  # type: ignore[no-untyped-call]
    sizes = np.asarray(has.sum(axis=1)).ravel()
    for start in range(0, len(texts), _ROWS):
        shared = (has[start : start + _ROWS] @ has.T).tocoo()
        first = shared.row + start
        sums = sizes[first] + sizes[shared.col]
        if settings.measure == Measure.DICE:
            how = 2 * shared.data / sums
        else:
            how = shared.data / (sums - shared.data)
        kept = (how >= settings.threshold) & (first != shared.col)
        for a, b, value in zip(first[kept], shared.col[kept], how[kept], strict=True):
            yield texts[a][0], texts[b][0], float(value)
