"""Levels: how serious a line's own writer found it.

A level is taken from where levels stand: a field of that name, or the first words of a line, past
times, numbers, brackets, logger names and separators. A word of the message is none.
"""

from __future__ import annotations

import re

LEVELS = {
    "trace": 5, "debug": 10, "info": 20, "notice": 25, "warning": 30,
    "error": 40, "critical": 50, "alert": 55, "fatal": 60,
}  # fmt: skip
"""The level names of triage, and how they compare."""

_NAMES = {
    **{name: name for name in LEVELS},
    "trc": "trace", "trce": "trace", "finest": "trace", "finer": "trace", "verbose": "trace",
    "dbg": "debug", "dbug": "debug", "fine": "debug",
    "inf": "info", "information": "info", "informational": "info", "log": "info",
    "warn": "warning", "wrn": "warning",
    "err": "error", "eror": "error", "severe": "error", "fail": "error",
    "crit": "critical", "ctl": "critical", "panic": "fatal", "dpanic": "critical",
    "emerg": "fatal", "emergency": "fatal", "ftl": "fatal",
}  # fmt: skip
_SYSLOG = ("fatal", "alert", "critical", "error", "warning", "notice", "info", "debug")
_PINO: dict[float, str] = {
    10: "trace",
    20: "debug",
    30: "info",
    40: "warning",
    50: "error",
    60: "fatal",
}
_MONOLOG: dict[float, str] = {
    100: "debug", 200: "info", 250: "notice", 300: "warning", 400: "error", 500: "critical",
    550: "alert", 600: "fatal",
}  # fmt: skip
_LETTERS = {
    "T": "trace", "D": "debug", "I": "info", "W": "warning", "E": "error", "C": "critical",
    "F": "fatal",
}  # fmt: skip

_KLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d")
_LETTER = re.compile(r"\[?([TDIWECF])(?:, \[\d| \d{6} )")
"""Ruby: E, [2025-07-17T...; tornado: [E 250717 ..."""
_NUMBER = re.compile(r"\d{1,3}\Z", re.ASCII)
_WORDS = 8
_SEPARATORS = frozenset({"-", "--", "---", "|", "||", ":", "::", "=>", ">", "*", "#"})
_NUMBERED = re.compile(r"\d")
_DOTTED = re.compile(r"[\w$-]+(?:[./][\w$-]+)+:?\d*")
_PART = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
                   r"|am|pm|utc|gmt|z)\Z", re.IGNORECASE)  # fmt: skip
_TRIM = "[](){}<>|:,;"


def level_of(value: object) -> str | None:
    """The level that a field's value names: a word, or pino's, Monolog's or syslog's number."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        return _NAMES.get(word) or (level_of(int(word)) if _NUMBER.match(word) else None)
    if isinstance(value, int | float):
        if value in range(len(_SYSLOG)):
            return _SYSLOG[int(value)]
        return _PINO.get(value) or _MONOLOG.get(value)
    return None


def read_level(text: str) -> str | None:
    """The level that a line of text begins with."""
    match = _KLOG.match(text) or _LETTER.match(text)
    if match is not None:
        return _LETTERS[match[1]]
    words = text[:400].split(None, _WORDS + 1)
    for place, word in enumerate(words[:_WORDS]):
        following = words[place + 1] if place + 1 < len(words) else ""
        level = _level_word(word, following)
        if level is not None:
            return level
        if not _goes_before(word, following):
            return None
    return None


def _level_word(word: str, following: str) -> str | None:
    """The level that a word is, as levels are written; a word of a sentence is none."""
    bare = word.strip(_TRIM)
    if not bare.isalpha():
        bare, colon, _ = bare.partition(":")  # ERROR:logger:message; [nginx:error]
        if word.startswith("[") and colon:
            bare = word.strip(_TRIM).rpartition(":")[2]
        if not (colon and bare.isalpha()):
            return None
    level = _NAMES.get(bare.lower())
    if level is None:
        return None
    marked = bare != word or following in _SEPARATORS
    if bare.isupper():
        return level if marked or following else None
    if bare == "Error" or bare == "Exception":  # "Error: boom": an exception's name, no level
        return level if word.startswith("[") else None
    return level if marked else None


def _goes_before(word: str, following: str) -> bool:
    """Whether a word may stand before the level: a time, a number, a logger, in brackets."""
    return (
        word in _SEPARATORS
        or following in _SEPARATORS
        or word[0] in "[(<{"
        or word[-1] in "])>}|"
        or _NUMBERED.search(word) is not None
        or _DOTTED.fullmatch(word.strip(_TRIM)) is not None
        or _PART.match(word.strip(_TRIM)) is not None
    )
