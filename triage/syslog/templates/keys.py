"""From a line's content to its key: what is obviously variable is masked, in one cheap pass.

Rules
- A run of characters between blanks and punctuation that holds a digit becomes `**`, whole:
  numbers, IPv4 addresses, process ids, `vm12`, `blk_123`, paths with a number in them. So the names
  of fields (`uid=`, `size:`) and brackets stay.
- Addresses that are written with colons (IPv6, MAC, times of day, fingerprints) become one `**`,
  whichever of their parts hold digits.
- Host names, mail addresses and paths are masked whatever they consist of: a fleet's logs hold more
  of them than of all other words together. A host name is two or more labels of lower-case letters:
  `org.apache.Mapper`, `Main.java` are none.
- A program's own name stays, though it holds a digit or two, where its process id shows that it is
  one: `python3[**]:`, `k3s[**]:`.
- Everything else is left for the miner, which sees the distinct keys only.
- Deterministic and idempotent. No key is longer than `KEY_CHARACTERS`.

Polars runs this on whole columns, with a regular expression engine that takes linear time whatever
the text holds. The pattern has no groups to capture: those would make it three times slower.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from triage.syslog.tables import WILDCARD

KEY_CHARACTERS: Final = 2048
"""A key's longest: what a line says after that does not tell what kind of line it is."""

PUNCTUATION: Final = "=,;:()[]{}\"'`<>|#"
"""Besides blanks, what ends a run."""

_CLASS = r"\s=,;:()\[\]{}\"'`<>|#"
_RUN = rf"[^{_CLASS}]*"
_TAIL = rf"(?:{_RUN}[0-9A-Za-z_])?"
"""To the end of the run, but for a full stop and the like at its end."""
_HEX = "[0-9A-Fa-f]{1,4}"
_COLONS = rf"(?-u:\b){_HEX}(?:(?:::?{_HEX}){{2,}}|::{_HEX})(?-u:\b)"
_LABEL = "[a-z](?:[a-z-]*[a-z])?"
_HOST = rf"(?-u:\b){_LABEL}(?:\.{_LABEL})+(?-u:\b)(?:/{_RUN}[A-Z])?"
"""With the record type that a name server writes after it: `www.example.org/AAAA/IN`."""
_PATH = "(?:/[A-Za-z._+-]+){2,}/?"
_MAIL = rf"{_RUN}@{_TAIL}"
_VARIABLE: Final = rf"{_COLONS}{_TAIL}|{_RUN}[0-9]{_TAIL}|{_MAIL}|{_HOST}|{_PATH}"

_TAG: Final = r"^[^\s\[\]:0-9]+(?:[0-9]{1,2}[^\s\[\]:0-9]*){1,2}(?:\[[0-9]+\]|\[\*\*\]): "
"""A program's name with a digit or two, or two such numbers (`python3.11`), and its process id."""
_NAME: Final = r"^[^\[]+"


def key_of(content: pl.Expr) -> pl.Expr:
    """Return the key of each content: "sshd[**]: Failed password for root from ** port ** **".

    `content` is "tag[pid]: message", or whatever a line holds. Nulls stay nulls.
    """
    return content.map_batches(keys_of, return_dtype=pl.String, is_elementwise=True)


def keys_of(contents: pl.Series) -> pl.Series:
    """Return the key of each content (`key_of`)."""
    keys = contents.str.replace_all(_VARIABLE, WILDCARD)
    # Both are rare, so that only their rows are worked on again
    named = contents.str.contains(_TAG).arg_true()
    if len(named):
        keys = keys.scatter(named, _with_names(contents.gather(named)))
    long = (keys.str.len_bytes() > KEY_CHARACTERS).arg_true()
    if len(long):
        # The cut may leave the beginning of an address, which then is one
        cut = keys.gather(long).str.head(KEY_CHARACTERS).str.replace_all(_VARIABLE, WILDCARD)
        keys = keys.scatter(long, cut)
    return keys.alias(contents.name)


def _with_names(contents: pl.Series) -> pl.Series:
    """Return the keys of contents whose programs' names keep their digits."""
    message = contents.str.replace(_NAME, "").str.replace_all(_VARIABLE, WILDCARD)
    return contents.str.extract(rf"({_NAME})") + message


def values_of(contents: pl.Series) -> pl.Series:
    """Return the lists of values that `key_of` masks in contents; in a name that it keeps, too."""
    return contents.str.extract_all(_VARIABLE)
