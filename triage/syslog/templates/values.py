"""What the values of a template's variable parts are.

Rules
- Read from the examples of some of the template's keys, at most `SAMPLE`. A kind that all agree on
  is the variable's; numbers among hexadecimal ones are hexadecimal; otherwise it is ANY.
- USER and HOST may be told by the word before them where the spelling does not tell.

Pure.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Final

from triage.syslog.tables import WILDCARD, Variable
from triage.syslog.templates.tokens import MANY, Tokens, Words, count_wild, parts_of

SAMPLE: Final = 32

_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)*(?:%|[A-Za-z]{1,3})?", re.ASCII)
_HEX: Final = re.compile(
    r"0[xX][0-9a-fA-F]+|[0-9a-fA-F]{6,}|[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1)+[0-9a-fA-F]{2}",
    re.ASCII,
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_](?:[\w-]*[A-Za-z0-9])?\.){2,}[a-z]{2,}\.?|[\w-]+\.[\w.-]*(?:[a-z]{2,3})",
    re.ASCII,
)
_USERS: Final = frozenset(("user", "users", "username", "logname", "ruser", "account", "login"))
_HOSTS: Final = frozenset(("host", "hostname", "rhost", "server", "node", "client", "peer"))


def kind_of(value: str, before: Sequence[str] = ()) -> Variable:
    """Return what a value is; `before` are the tokens before it."""
    if _UUID.fullmatch(value):
        return Variable.UUID
    if _is_address(value):
        return Variable.IP
    named = [word.lower() for word in before[-2:] if word not in ("=", ":", "'", '"')][-1:]
    if named and named[0] in _USERS:
        return Variable.USER
    if _NUMBER.fullmatch(value):
        return Variable.NUMBER
    if _HEX.fullmatch(value):
        return Variable.HEX
    if "/" in value and (value.startswith(("/", "~", "./", "../")) or value.count("/") > 1):
        return Variable.PATH
    if _HOST.fullmatch(value) or (named and named[0] in _HOSTS):
        return Variable.HOST
    return Variable.ANY


def _is_address(value: str) -> bool:
    if value.count(".") != 3 and value.count(":") < 2:
        return False
    try:
        ipaddress.ip_address(value.strip("/").split("/")[0].split("%")[0])
    except ValueError:
        return False
    return True


def joined_kind(kinds: set[Variable]) -> Variable:
    """Return what values of these kinds have in common."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds and kinds <= {Variable.NUMBER, Variable.HEX}:
        return Variable.HEX
    if kinds and kinds <= {Variable.IP, Variable.HOST}:
        return Variable.HOST
    return Variable.ANY


def variables_of(
    text: str, keys: Mapping[str, tuple[Words, Sequence[str]]]
) -> tuple[Variable, ...]:
    """Return the kinds of a text's variables, as keys tell that it matches.

    Of each key there are its words, and the values that were masked in its example, in order.
    """
    pattern = parts_of(text)
    wild = [count_wild(text[start:end]) for start, end in pattern.spans()]
    seen: list[list[set[Variable]]] = [[set() for _ in range(count)] for count in wild]
    for key, (words, masked) in keys.items():
        _see(seen, pattern.tokens, key, words, masked)
    return tuple(joined_kind(kinds) for kinds in itertools.chain.from_iterable(seen))


def _see(
    seen: Sequence[Sequence[set[Variable]]],
    pattern: Tokens,
    key: str,
    words: Words,
    masked: Sequence[str],
) -> None:
    """Add the kinds of one key's values, each to its variable's."""
    places = _places(pattern, len(words.tokens))
    if key.count(WILDCARD) < len(masked):  # a name that keeps its digits: `python3[**]:`
        masked = masked[len(masked) - key.count(WILDCARD) :]
    at = 0
    for index, (start, end) in enumerate(words.spans()):
        part = key[start:end]
        count = count_wild(part) if WILDCARD in part else 0
        own = masked[at : at + count] if count else [words.tokens[index]]
        at += count
        place = places.get(index)
        if place is None or not seen[place] or len(own) < max(count, 1):
            continue
        kinds = [kind_of(value, words.tokens[:index]) for value in own]
        if len(kinds) == len(seen[place]):
            for known, kind in zip(seen[place], kinds, strict=True):
                known.add(kind)
        elif len(seen[place]) == 1:
            seen[place][0].update(kinds)


def _places(pattern: Tokens, length: int) -> dict[int, int]:
    """Return for the places of a key of this length those of the pattern, but for `MANY`."""
    if MANY not in pattern:
        return {index: index for index in range(length)}
    first = pattern.index(MANY)
    last = len(pattern) - 1 - pattern[::-1].index(MANY)
    found = {index: index for index in range(first)}
    for back in range(1, len(pattern) - last):
        found[length - back] = len(pattern) - back
    return found
