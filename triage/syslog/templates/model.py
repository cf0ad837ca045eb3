"""The templates known so far: learnt, kept, frozen, edited.

Theory of operation
    The model learns from keys (`keys.key_of`), never from lines. Keys that a known template matches
    are that template's; the rest are mined together, and what comes out are new templates. A
    template's text never changes and its id is computed from the text, so ids are the same on any
    machine and for ever. A more general template that turns up later is one more template, for
    keys that none before it matches: `matching` lets the older one win. What a key is assigned to
    depends on the templates alone, so nothing else has to be kept.

Rules
- A model is never changed: `learn`, `edited` and `with_frozen` return another one.
- What changes a model raises its version by one and is told in `history`. Learning that finds
  nothing new changes nothing and returns the model itself.
- What is learnt does not depend on the order of the keys, nor on how often one is given: lines of
  equal keys are added up, and of their examples the least in order of code points counts.
- A frozen model learns nothing; a key that it does not know has id 0.
- At most `MinerSettings.keys` keys are mined at once, those with most lines first, and at most
  `MinerSettings.program` templates of one program are learnt at once. What has no template then
  falls to a catch-all of its program (`is_catch_all`). A catch-all matches only
  what no other template does, and the keys it matches are mined again when they come again.
- Edits are applied on top of what is learnt, whenever a key is assigned: to keys seen before as
  well as to keys to come. A split sends a template's keys on to more special ones, a merge makes
  an id an alias of another, and a name is shown in place of a text. Merging a part of a split
  template back into it undoes that part of the split.

Pure: reading and writing files is `files`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from triage.syslog.errors import SyslogError
from triage.syslog.tables import WILDCARD, Template, content_id, id_text
from triage.syslog.templates.keys import values_of
from triage.syslog.templates.matching import Index
from triage.syslog.templates.mining import MinerSettings, mine
from triage.syslog.templates.tokens import (
    MANY,
    Tokens,
    Words,
    pattern_of,
    tagged,
    text_of,
    tokens_of,
    words_of,
)
from triage.syslog.templates.values import SAMPLE, variables_of

EXAMPLE_CHARACTERS = 500
"""An example's longest."""
CATCH_ALLS = 1000
"""At most so many programs get a catch-all of their own at once."""
AT_ONCE = 4
"""At most so many times the keys that are mined at once are looked at."""
REMEMBERED = 500_000
"""At most so many keys does a model remember the templates of, to be quick."""


class ModelError(SyslogError):
    """A model or an edit that cannot be used; the text says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Templates that are one to the operators."""

    ids: tuple[int, ...]
    into: int
    """The id that remains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What operators want otherwise; renamed after merged after split."""

    split: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Template id -> texts of the templates that it is split into."""
    merge: tuple[Merge, ...] = ()
    rename: Mapping[int, str] = field(default_factory=dict)
    """Template id -> its name; an empty one takes the name away."""
    source: str = ""
    """Where they are from (a file's name), for the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one version of a model has that the one before had not."""

    version: int
    kind: str
    """"learnt", "edited", "frozen" or "thawed"."""
    at: float = 0.0
    """When, as the caller said it: seconds since 1970; 0 if it did not."""
    source: str = ""
    """What from: files, an edit file."""
    keys: int = 0
    """Keys that no template matched before."""
    lines: int = 0
    """Lines of those keys."""
    templates: tuple[int, ...] = ()
    """Ids that are new, sorted."""
    split: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    merged: Mapping[int, int] = field(default_factory=dict)
    renamed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A template, and what the model knows of it."""

    template: Template
    since: int
    """The version that it came with."""
    learnt: bool = True
    """False: only a split leads to it."""


@dataclass(frozen=True, kw_only=True)
class TemplateModel:
    """Templates with stable ids, and which one a key belongs to."""

    version: int = 0
    frozen: bool = False
    entries: Mapping[int, Entry] = field(default_factory=dict)
    """By id: every template there ever was, merged ones too."""
    splits: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    aliases: Mapping[int, int] = field(default_factory=dict)
    """Merged id -> id that remains (which may be an alias in turn)."""
    history: tuple[Change, ...] = ()
    settings: MinerSettings = field(default_factory=MinerSettings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        """The templates, sorted by id, without those that were merged into others."""
        return tuple(
            entry.template
            for number, entry in sorted(self.entries.items())
            if number not in self.aliases
        )

    def template(self, number: int) -> Template | None:
        """Return the template of an id or of an alias."""
        entry = self.entries.get(self.resolve(number))
        return entry.template if entry else None

    def resolve(self, number: int) -> int:
        """Return the id that an id stands for by now: itself, or what it was merged into."""
        seen = {number}
        while (number := self.aliases.get(number, number)) not in seen:
            seen.add(number)
        return number

    def ids_of_version(self, version: int) -> tuple[int, ...]:
        """Return the ids of the templates that a version knew, sorted, merged ones too."""
        return tuple(sorted(n for n, entry in self.entries.items() if entry.since <= version))

    def assign(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the template id of each key; 0 where no template matches."""
        known = self._known
        found = np.zeros(len(keys), dtype=np.int64)
        for index, key in enumerate(keys):
            number = known.get(key)
            if number is None:
                number = self._find(key)
                if len(known) < REMEMBERED:
                    known[key] = number
            found[index] = number
        return found

    def _find(self, key: str) -> int:
        tokens = tokens_of(key)
        number = self._index.find(tokens) or self._last_resort.find(tokens)
        seen: set[int] = set()
        while number and number not in seen:
            seen.add(number)
            number = self.resolve(number)
            seen.add(number)
            if number in self._parts:
                number = self._parts[number].find(tokens) or number
        return self.resolve(number)

    def learn(
        self,
        keys: Sequence[str],
        lines: Sequence[int],
        examples: Sequence[str],
        *,
        at: float = 0.0,
        source: str = "",
    ) -> TemplateModel:
        """Return a model that has a template for each key, or this one where it had (or is frozen).

        `lines` are counts of lines, `examples` a content of each key. `at` and `source` are for the
        history.
        """
        if self.frozen:
            return self
        counted: dict[str, int] = {}
        shown: dict[str, str] = {}
        for key, count, example in zip(keys, lines, examples, strict=True):
            counted[key] = counted.get(key, 0) + int(count)
            shown[key] = min(shown.get(key, example), example)
        chosen, others = _chosen(counted, self.settings.keys * AT_ONCE)
        unknown = self._unknown(chosen)
        before = [pattern_of(e.template.text) for e in self.entries.values() if e.learnt]
        texts, rest = _mined(unknown, counted, before, self.settings)
        if rest or others:
            texts += _catch_alls([*rest.values(), *others.values()])
        version = self.version + 1
        entries = dict(self.entries)
        owners = _uncrowded(_owners(texts, unknown), unknown, counted, self.settings.program)
        owned = {key for keys in owners.values() for key in keys}
        for key in sorted(
            unknown.keys() - owned
        ):  # where a wildcard would become one with its neighbours
            owners.setdefault(text_of(unknown[key], [False] * _size(unknown[key])), []).append(key)
        for key, words in others.items():  # whatever else they are, a catch-all takes them
            text = f"{_program(words)} {MANY}".strip()
            unknown[key] = words
            owners.setdefault(text if text in texts else MANY, []).append(key)
        for template in _owned(owners, unknown, shown):
            entries[template.id] = Entry(template=template, since=version)
        if entries == self.entries:
            return self
        change = Change(
            version=version,
            kind="learnt",
            at=at,
            source=source,
            keys=len(unknown),
            lines=sum(counted[key] for key in unknown),
            templates=tuple(sorted(set(entries) - set(self.entries))),
        )
        found = replace(self, version=version, entries=entries, history=(*self.history, change))
        if not self.splits and not self.aliases:  # spares looking the new keys up again
            known = ((key, content_id(text)) for text, keys in owners.items() for key in keys)
            found._known.update(itertools.islice(known, REMEMBERED))
        return found

    def _unknown(self, keys: Iterable[str]) -> dict[str, Words]:
        """Take apart the keys that no template matches but a catch-all, in order."""
        found: dict[str, Words] = {}
        for key in sorted(keys):
            words = words_of(key)
            if not self._index.find(words.tokens):
                found[key] = words
        return found

    def with_frozen(self, frozen: bool = True, *, at: float = 0.0) -> TemplateModel:
        """Return this model frozen, or thawed."""
        if frozen == self.frozen:
            return self
        version = self.version + 1
        change = Change(version=version, kind="frozen" if frozen else "thawed", at=at)
        return replace(self, version=version, frozen=frozen, history=(*self.history, change))

    def edited(self, edits: Edits, *, at: float = 0.0) -> TemplateModel:
        """Return this model with edits; ModelError where one cannot be made.

        Editing again with the same edits changes nothing.
        """
        entries, splits = self._split(edits.split)
        aliases = dict(self.aliases)
        for merge in edits.merge:
            _require(entries, (*merge.ids, merge.into), "merge")
            aliases.pop(merge.into, None)
            aliases.update({number: merge.into for number in merge.ids if number != merge.into})
        _require(entries, tuple(edits.rename), "rename")
        for number, name in edits.rename.items():
            entry = entries[number]
            entries[number] = replace(entry, template=replace(entry.template, name=name))
        if (entries, splits, aliases) == (self.entries, self.splits, self.aliases):
            return self
        version = self.version + 1
        change = Change(
            version=version,
            kind="edited",
            at=at,
            source=edits.source,
            templates=tuple(sorted(set(entries) - set(self.entries))),
            split={n: parts for n, parts in splits.items() if self.splits.get(n) != parts},
            merged={n: into for n, into in aliases.items() if self.aliases.get(n) != into},
            renamed=dict(edits.rename),
        )
        return replace(
            self,
            version=version,
            entries=entries,
            splits=splits,
            aliases=aliases,
            history=(*self.history, change),
        )

    def _split(
        self, split: Mapping[int, tuple[str, ...]]
    ) -> tuple[dict[int, Entry], dict[int, tuple[int, ...]]]:
        entries, splits = dict(self.entries), dict(self.splits)
        _require(entries, tuple(split), "split")
        for number, texts in split.items():
            parts = set(splits.get(number, ()))
            for text in texts:
                part = _part(text, number)
                parts.add(part.id)
                entries.setdefault(
                    part.id, Entry(template=part, since=self.version + 1, learnt=False)
                )
            splits[number] = tuple(sorted(parts))
        return entries, splits

    @cached_property
    def _known(self) -> dict[str, int]:
        return {}

    @cached_property
    def _index(self) -> Index:
        return Index(
            (pattern, number, entry.since)
            for number, entry in self.entries.items()
            if entry.learnt and not is_catch_all(pattern := pattern_of(entry.template.text))
        )

    @cached_property
    def _last_resort(self) -> Index:
        return Index(
            (pattern, number, 0)
            for number, entry in self.entries.items()
            if entry.learnt and is_catch_all(pattern := pattern_of(entry.template.text))
        )

    @cached_property
    def _parts(self) -> dict[int, Index]:
        return {
            number: Index((pattern_of(self.entries[n].template.text), n, 0) for n in parts)
            for number, parts in self.splits.items()
        }


def is_catch_all(pattern: Sequence[str]) -> bool:
    """Tell whether a template is for whatever else a program says: "sshd[**]: ** **"."""
    return pattern[-1:] == (MANY,) and (len(pattern) == 1 or pattern[-2] == ":")


def _chosen(lines: Mapping[str, int], most: int) -> tuple[list[str], dict[str, Words]]:
    """Return the keys with most lines, and one of each program of the others, taken apart."""
    if len(lines) <= most:
        return list(lines), {}
    keys = sorted(lines, key=lambda key: (-lines[key], key))
    others: dict[str, str] = {}
    for key in keys[most:]:
        program = key.partition(": ")[0]
        others[program] = min(others.get(program, key), key)
    return keys[:most], {key: words_of(key) for key in sorted(others.values())}


def _mined(
    unknown: Mapping[str, Words],
    lines: Mapping[str, int],
    before: Sequence[Tokens],
    settings: MinerSettings,
) -> tuple[list[str], dict[str, Words]]:
    """Return the texts of the templates of these keys, and the keys that are left over.

    Keys beyond the bounds are mined in turn, as long as most of them turn out to be known by then:
    what goes on being unlike anything seen is noise.
    """
    texts: list[str] = []
    rest = dict(unknown)
    while rest:
        mined = bounded(rest, lines, settings)
        found = mine(mined, lines, before, settings)
        texts += found
        left = {key: words for key, words in rest.items() if key not in mined}
        if not left:
            return texts, left
        before = [*before, *map(pattern_of, found)]
        index = Index((pattern_of(text), number, 0) for number, text in enumerate(found, 1))
        rest = {key: words for key, words in left.items() if not index.find(words.tokens)}
        if not mined or len(rest) * 2 > len(left):
            break
    return texts, rest


def bounded(
    unknown: Mapping[str, Words], lines: Mapping[str, int], settings: MinerSettings
) -> dict[str, Words]:
    """Return the keys that are mined: all, or those with most lines as far as the bounds allow."""
    if len(unknown) <= settings.keys and sum(map(_size, unknown.values())) <= settings.tokens:
        return dict(unknown)
    found: dict[str, Words] = {}
    left = settings.tokens
    for key in sorted(unknown, key=lambda key: (-lines[key], key))[: settings.keys]:
        left -= _size(unknown[key])
        if left < 0:
            break
        found[key] = unknown[key]
    return found


def _size(words: Words) -> int:
    return len(words.tokens)


def _catch_alls(rest: Iterable[Words]) -> list[str]:
    """Return the catch-alls of the programs with most keys, and one for whatever else there is."""
    programs: Counter[str] = Counter()
    for words in rest:
        programs[_program(words)] += 1
    common = sorted(programs, key=lambda name: (-programs[name], name))[:CATCH_ALLS]
    return sorted({f"{name} {MANY}".strip() for name in (*common, "")})


def _program(words: Words) -> str:
    return "".join(words.shown[: tagged(words.tokens)])


def _owners(texts: Sequence[str], unknown: Mapping[str, Words]) -> dict[str, list[str]]:
    """Return the keys of each text that some key belongs to."""
    by_id = {content_id(text): text for text in texts}
    patterns = {number: pattern_of(text) for number, text in by_id.items()}
    index = Index((p, number, 0) for number, p in patterns.items() if not is_catch_all(p))
    last_resort = Index((p, number, 0) for number, p in patterns.items() if is_catch_all(p))
    members: dict[str, list[str]] = {}
    for key, words in unknown.items():
        number = index.find(words.tokens) or last_resort.find(words.tokens)
        if number:
            members.setdefault(by_id[number], []).append(key)
    return members


def _uncrowded(
    owners: dict[str, list[str]],
    unknown: Mapping[str, Words],
    lines: Mapping[str, int],
    most: int,
) -> dict[str, list[str]]:
    """Leave to a catch-all what a program has too many templates of: it is noise, not messages."""
    programs: dict[str, list[str]] = {}
    for text, keys in owners.items():
        programs.setdefault(_program(unknown[keys[0]]), []).append(text)
    dropped = {
        text
        for texts in programs.values()
        if len(texts) > most
        for text in sorted(
            texts, key=lambda text: (-sum(map(lines.__getitem__, owners[text])), text)
        )[most:]
    }
    if not dropped:
        return owners
    rest = _catch_alls(unknown[owners[text][0]] for text in dropped)
    return _owners([*(text for text in owners if text not in dropped), *rest], unknown)


def _owned(
    owners: Mapping[str, Sequence[str]], unknown: Mapping[str, Words], shown: Mapping[str, str]
) -> Iterator[Template]:
    """Give the templates of these texts."""
    sample = [key for keys in owners.values() for key in keys[:SAMPLE]]
    contents = pl.Series([shown[key] for key in sample], dtype=pl.String)
    values = dict(zip(sample, values_of(contents).to_list(), strict=True))
    for text, keys in owners.items():
        some = {key: (unknown[key], values[key]) for key in keys[:SAMPLE]}
        yield Template(
            id=content_id(text),
            text=text,
            variables=variables_of(text, some),
            example=min(shown[key] for key in keys)[:EXAMPLE_CHARACTERS],
        )


def _part(text: str, number: int) -> Template:
    pattern = pattern_of(text)
    if not any(token not in (WILDCARD, MANY) for token in pattern):
        raise ModelError(f"split of {id_text(number)}: {text!r} has no constant word")
    if content_id(text) == number:
        raise ModelError(f"split of {id_text(number)}: {text!r} is that template itself")
    return Template(id=content_id(text), text=text, variables=variables_of(text, {}))


def _require(entries: Mapping[int, Entry], ids: Sequence[int], edit: str) -> None:
    for number in ids:
        if number not in entries:
            raise ModelError(f"{edit}: no template has the id {id_text(number)}")
