"""Values of variable bindings (RFC 3416), what they are taken for, and how snmpwalk prints them.

A value keeps its type: a Counter64, an INTEGER and a TimeTicks of 5 mean different things. The
three exceptions (noSuchObject, noSuchInstance, endOfMibView) are values too: an instance that
cannot be read is told apart from one that is zero, and a caller that wants a number gets None.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

Oid = tuple[int, ...]

TICKS_WRAP = 2**32
"""TimeTicks are hundredths of a second modulo this (RFC 2578 section 7.1.8): 497 days."""


class Tag(IntEnum):
    """BER tags of the values of SNMP (RFC 2578, RFC 3416)."""

    INTEGER = 0x02
    OCTET_STRING = 0x04
    NULL = 0x05
    OBJECT_IDENTIFIER = 0x06
    IP_ADDRESS = 0x40
    COUNTER32 = 0x41
    GAUGE32 = 0x42
    TIME_TICKS = 0x43
    OPAQUE = 0x44
    COUNTER64 = 0x46
    NO_SUCH_OBJECT = 0x80
    NO_SUCH_INSTANCE = 0x81
    END_OF_MIB_VIEW = 0x82


EXCEPTIONS = frozenset({Tag.NO_SUCH_OBJECT, Tag.NO_SUCH_INSTANCE, Tag.END_OF_MIB_VIEW})
NUMBERS = frozenset({Tag.INTEGER, Tag.COUNTER32, Tag.GAUGE32, Tag.TIME_TICKS, Tag.COUNTER64})
COUNTERS = {Tag.COUNTER32: 2**32, Tag.COUNTER64: 2**64}
"""Counter types, and the number at which they begin again."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value with its type; `raw` is int, bytes, an Oid, or None for NULL and the exceptions."""

    tag: Tag
    raw: int | bytes | Oid | None = None

    @property
    def missing(self) -> bool:
        """True for the exceptions: there is no such value."""
        return self.tag in EXCEPTIONS

    @property
    def number(self) -> int | None:
        """The number, None when it is none."""
        return self.raw if self.tag in NUMBERS and isinstance(self.raw, int) else None

    @property
    def octets(self) -> bytes | None:
        """The content of a string, None when it is none."""
        return self.raw if isinstance(self.raw, bytes) else None

    @property
    def text(self) -> str:
        """A string as text (SnmpAdminString is UTF-8), printable; "" when it is no string."""
        if self.tag is not Tag.OCTET_STRING or not isinstance(self.raw, bytes):
            return ""
        return printable(self.raw.decode("utf-8", "replace"))

    @property
    def seconds(self) -> float | None:
        """TimeTicks as seconds."""
        number = self.number
        return number / 100 if number is not None and self.tag is Tag.TIME_TICKS else None


Rows = dict[Oid, dict[Oid, Value]]
"""Of a table: index -> column -> value."""

VarBind = tuple[Oid, Value]

NULL = Value(Tag.NULL)
NO_SUCH_INSTANCE = Value(Tag.NO_SUCH_INSTANCE)


def printable(text: str) -> str:
    """Replace what a terminal or a log line must not be given."""
    return "".join(char if char.isprintable() else "?" for char in text)


def dotted(oid: Oid) -> str:
    """Write an OID with dots."""
    return ".".join(map(str, oid))


def ticks_since(now: Value, then: Value) -> float | None:
    """Seconds between two readings of one TimeTicks clock, which may have begun again."""
    later, earlier = now.number, then.number
    if later is None or earlier is None:
        return None
    return (later - earlier) % TICKS_WRAP / 100


def growth(before: Value | None, after: Value | None) -> int | None:
    """By how much a counter grew; None when it is missing or began anew between the readings.

    A counter that is lower than before either wrapped (from its upper half to its lower half) or
    was reset: then nothing is known of the time between (RFC 2578 sections 7.1.6 and 7.1.10).
    """
    if before is None or after is None or before.tag is not after.tag:
        return None
    wrap = COUNTERS.get(after.tag)
    old, new = before.number, after.number
    if wrap is None or old is None or new is None:
        return None
    if new >= old:
        return new - old
    return new - old + wrap if old >= wrap // 2 > new else None


# As snmpwalk prints them


def _ticks_shown(number: int) -> str:
    seconds, hundredths = divmod(number, 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    whole = f"{hours}:{minutes:02}:{seconds:02}.{hundredths:02}"
    if days:
        whole = f"{days} day{'s' if days > 1 else ''}, {whole}"
    return f"Timeticks: ({number}) {whole}"


def _octets_shown(octets: bytes) -> str:
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = "\0"
    if text.isprintable():
        return f"STRING: {text}"
    return "Hex-STRING: " + octets.hex(" ").upper()


def _number_shown(value: Value, number: int, labels: dict[int, str] | None) -> str:
    if value.tag is Tag.TIME_TICKS:
        return _ticks_shown(number)
    if labels and number in labels:
        return f"INTEGER: {labels[number]}({number})"
    names = {Tag.COUNTER32: "Counter32", Tag.COUNTER64: "Counter64", Tag.GAUGE32: "Gauge32"}
    return f"{names.get(value.tag, 'INTEGER')}: {number}"


_EXCEPTION_TEXTS = {
    Tag.NO_SUCH_OBJECT: "No Such Object available on this agent at this OID",
    Tag.NO_SUCH_INSTANCE: "No Such Instance currently exists at this OID",
    Tag.END_OF_MIB_VIEW: "No more variables left in this MIB View",
    Tag.NULL: "NULL",
}


def value_shown(value: Value, labels: dict[int, str] | None = None) -> str:
    """Write a value in the manner of snmpwalk; `labels` are the names of an enumeration."""
    number = value.number
    if number is not None:
        return _number_shown(value, number, labels)
    if isinstance(value.raw, tuple):
        return f"OID: {dotted(value.raw)}"
    if isinstance(value.raw, bytes):
        if value.tag is Tag.IP_ADDRESS:
            return "IpAddress: " + ".".join(map(str, value.raw))
        return _octets_shown(value.raw)
    return _EXCEPTION_TEXTS.get(value.tag, "")
