"""Keys and templates' texts as tokens, and what a text says that it matches.

Rules
- A token is a run of characters between blanks and punctuation, or one punctuation character.
  How many blanks there are does not count.
- What makes up one value counts as one `**`, in a key as in a text: a list of masked runs (blanks
  or commas between them), of no element too (`()`, `""`); runs that are joined without a blank
  (`**:**`, `**#**`); the names of days, months and zones beside a masked run, and the unit of
  size or time after it. So lines with more or fewer parameters are of one template.
- In a text, `**` stands for one token (or one such value). `** **` stands for one or more tokens,
  whatever they are. That is all there is: a text says by itself what it matches, so that an
  operator can write one.
- Tokens after the first `TOKENS` do not count.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from triage.syslog.tables import WILDCARD

TOKENS: Final = 160
"""So many tokens of a key count."""
MANY: Final = "** **"
"""The token that matches one or more tokens; a text has it as it stands here."""

_TOKEN: Final = re.compile(r"(\s*)([^\s=,;:()\[\]{}\"'`<>|#]+|[=,;:()\[\]{}\"'`<>|#])")
_JOINTS: Final = frozenset(":#;|,")
_EMPTY: Final = frozenset(("()", "[]", "{}", "<>", '""', "''"))
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())  # noqa: SIM905
_ZONES: Final = ("UTC", "GMT", "JST", "CET", "CEST", "EST", "EDT", "CST", "CDT", "PST", "PDT")
_BESIDE: Final = frozenset((*_DAYS, *_MONTHS, *_ZONES, "AM", "PM", "am", "pm"))
"""What belongs to a masked run before or after it."""
_SIZES: Final = ("B", "KB", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB")
_TIMES: Final = ("ns", "us", "ms", "s", "sec", "secs", "min", "mins", "h", "hrs")
_AFTER: Final = frozenset((*_SIZES, *_TIMES))
"""What belongs to a masked run before it."""

_SPECIAL: Final = frozenset((WILDCARD, *_BESIDE, *_AFTER, *")]}>\"'"))

Tokens = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """A key taken apart."""

    tokens: Tokens
    shown: Tokens
    """Each token as the key has it: with the blank before it, and values in full."""
    ends: tuple[int, ...]
    """Where each token ends in the key; what is before it belongs to it."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """Give where each token begins and ends in the key."""
        start = 0
        for end in self.ends:
            yield start, end
            start = end


class _Scan:
    """Takes a key apart, or a text, whose `** **` are `MANY`."""

    def __init__(self, *, is_text: bool) -> None:
        self.tokens: list[str] = []
        self.shown: list[str] = []
        self.ends: list[int] = []
        self._is_text = is_text

    def run(self, text: str) -> _Scan:
        tokens, shown, ends = self.tokens, self.shown, self.ends
        at = 0
        for space, token in _TOKEN.findall(text):
            if len(tokens) >= TOKENS:
                break
            blank = " " if space and tokens else ""
            at += len(space) + len(token)
            if token in _SPECIAL and tokens:
                self._add(token, blank, at)
            else:
                tokens.append(token)
                shown.append(blank + token)
                ends.append(at)
        return self

    def words(self) -> Words:
        return Words(tuple(self.tokens), tuple(self.shown), tuple(self.ends))

    def _add(self, token: str, blank: str, end: int) -> None:
        last = self.tokens[-1]
        if token == WILDCARD:
            self._masked(blank, end)
        elif blank and last in (WILDCARD, MANY) and (token in _AFTER or token in _BESIDE):
            self.ends[-1] = end
        else:
            if not blank and last + token in _EMPTY:
                self._put(WILDCARD, "", end - len(token))
            self._put(token, blank + token, end)

    def _masked(self, blank: str, end: int) -> None:
        while blank and self.tokens and self.tokens[-1] in _BESIDE:
            blank = " " if self.shown[-1].startswith(" ") else ""
            for column in (self.tokens, self.shown, self.ends):
                column.pop()
        start = value_before(self.tokens, self.shown, blank)
        if start is None:
            self._put(WILDCARD, blank + WILDCARD, end)
            return
        if start == len(self.tokens) - 1 and blank:  # nothing but a blank between them
            if self._is_text:
                self.tokens[start] = MANY
        else:
            self.shown[start:] = ["".join(self.shown[start:]) + blank + WILDCARD]
            del self.tokens[start + 1 :]
        self.ends[start:] = [end]

    def _put(self, token: str, shown: str, end: int) -> None:
        self.tokens.append(token)
        self.shown.append(shown)
        self.ends.append(end)


def value_before(tokens: Sequence[str], shown: Sequence[str], blank: str) -> int | None:
    """Return the place of the wildcard that a wildcard after these tokens goes on with, if any."""
    end = len(tokens)
    if blank:  # a list: "1 2", "1, 2"
        end -= tokens[-1:] == [","]
    else:  # joined: "1:2", "1::2"
        while end and tokens[end - 1] in _JOINTS and shown[end - 1] == tokens[end - 1]:
            end -= 1
        if end == len(tokens):
            return None
    return end - 1 if end and tokens[end - 1] in (WILDCARD, MANY) else None


def words_of(key: str) -> Words:
    """Take a key apart into tokens."""
    return _Scan(is_text=False).run(key).words()


def tokens_of(key: str) -> Tokens:
    """Return a key's tokens, each value as one."""
    return tuple(_Scan(is_text=False).run(key).tokens)


def parts_of(text: str) -> Words:
    """Take a template's text apart: as a key, with `MANY` for `** **`."""
    return _Scan(is_text=True).run(text).words()


@lru_cache(maxsize=1 << 16)
def pattern_of(text: str) -> Tokens:
    """Return the tokens of a template's text."""
    return tuple(_Scan(is_text=True).run(text).tokens)


def count_wild(text: str) -> int:
    """Return how many `**` stand in a text or a key."""
    return sum(token == WILDCARD for _, token in _TOKEN.findall(text))


def masked(words: Words, pattern: Tokens) -> Words:
    """Return a key's words with those masked that are `**` in an equally long pattern."""
    shown = [
        (" " if display.startswith(" ") else "") + WILDCARD
        if kind == WILDCARD != token
        else display
        for token, kind, display in zip(words.tokens, pattern, words.shown, strict=True)
    ]
    return Words(pattern, tuple(shown), words.ends)


def text_of(words: Words, variable: Sequence[bool]) -> str:
    """Return the text in which these tokens of a key are variable."""
    tokens: list[str] = []
    shown: list[str] = []
    for token, display, varies in zip(words.tokens, words.shown, variable, strict=True):
        blank = " " if display.startswith(" ") else ""
        kind = WILDCARD if varies else token
        wild = kind in (WILDCARD, MANY)
        start = value_before(tokens, shown, blank) if wild else None
        if start is not None:  # a word is among them: a value would not match it
            blank = " " if shown[start].startswith(" ") else ""
            tokens[start:] = [MANY]
            shown[start:] = [blank + MANY]
            continue
        tokens.append(kind)
        shown.append(blank + WILDCARD if varies and token != WILDCARD else display)
    return "".join(shown)


def tagged(row: Tokens) -> int:
    """Return how many tokens a program's name takes: "sshd[**]:" 5, "kernel:" 2."""
    if row[1:5] == ("[", WILDCARD, "]", ":"):
        return 5
    return 2 if row[1:2] == (":",) else 0
