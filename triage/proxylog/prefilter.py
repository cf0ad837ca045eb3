"""Lines of a log that do not matter, told from the others before anything is parsed.

Rules
- A line does not matter when it is certainly of the format, and it is outside the window, or it is
  another client's and did not fail. Such lines are counted, and that is all.
- Whatever is not certain goes to the line parser: what a line is, only `triage.proxylog.formats`
  says, and a block's counts are what they would be had it read every line. A test holds the two
  against each other.
- Nothing here is written for one format. What a line is judged by (time, status, flags, details,
  user agent) is taken from the compiled format, and so is how to find it.

Text. One expression over octets runs through a block; it fits a subset of what the format's fast
expression fits. Nearly all of the time goes into free fields, and the end of a field is found
soonest where one octet ends it. Such an expression is too loose for a line with injected quotes, or
for one that was cut and runs into the next: in either, there are more quotes or newlines than the
expression's own. So these are counted, over the whole block at once, and a block that does not come
out even is done again with the expression that leaves them out, which takes twice as long.

JSON. The members that count are decoded, the others only checked, by the decoder that the line
parser uses.

What has been made out of a user agent, status, flags and details is kept, within bounds, since they
come again. Status, flags and details tell of a failure, or of none, when no value of the fields
beside them could change that.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from triage.cri import parse_time
from triage.evidence import ProxyRequest, Target, Window
from triage.proxylog.flags import classify, server_fault
from triage.proxylog.formats import Field, Format, JsonFormat, Member, NamedJson, TextFormat
from triage.proxylog.match import AGENT_LIMIT, agent_expression
from triage.proxylog.times import ISO

OUTCOME = ("status", "flags", "details", "termination_details")
"""Fields of a request that tell what became of it."""
_OUTCOME = frozenset(OUTCOME)
_WANTED = _OUTCOME | {"time", "user_agent"}


@dataclass(slots=True)
class Sorted:
    """A block's lines."""

    matter: list[bytes]
    """For the line parser, in their order, without newlines."""
    skipped: int = 0
    inside: int = 0
    """Of those skipped: in the window."""
    failed: int = 0
    """Of those in the window: the serving side failed."""


class Prefilter(Protocol):
    """Sorts blocks of lines of one format."""

    def sort(self, block: bytes, *, failed_too: bool) -> Sorted:
        """Sort whole lines, each with its newline, none longer than `triage.cri.LIMIT`.

        `failed_too`: other clients' failed requests do not matter either.
        """
        ...


def prefilter(form: Format, target: Target, window: Window) -> Prefilter | None:
    """The prefilter of a format; None when its lines cannot be told apart without parsing them."""
    judge = _Judge(target, window)
    if isinstance(form, TextFormat):
        fields = [field for field, _ in form.octets(loose=True) or () if field is not None]
        names = [field.name for field in fields if field.name in _WANTED]
        alone = "time" in names and len(names) == len(set(names))
        return _TextFilter(form, judge) if alone else None
    if isinstance(form, JsonFormat | NamedJson):
        return _json_filter(form, form.members(_WANTED) or [], judge)
    return None


# What there is to do with a line: where it is, and if it is in the window, what it is. Octets, so
# that those of a block can be counted at once. 0 is none: not known yet.
_OUTSIDE = 1
_INSIDE = 2
_UNSURE = 3
"""For the line parser: in a second that the window cuts through, without a time, or strange."""
_COUNT = 4
_COUNT_FAILED = 5
_MATTERS = 6
_DROPPED = frozenset({_OUTSIDE, _COUNT})
_DROPPED_TOO = _DROPPED | {_COUNT_FAILED}


class _Memory(dict[Any, int]):
    """What is known. Begins anew when it holds more than `OCTETS`, about."""

    OCTETS = 8 * 1024 * 1024

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def keep(self, key: Any, value: int, size: int) -> int:
        """Keep a value; `size` is the key's, in octets."""
        self._held += size + 256
        if self._held > self.OCTETS:
            self.clear()
            self._held = size + 256
        self[key] = value
        return value

    def of(
        self,
        keys: Callable[[], Iterable[tuple[bytes, ...]]],
        find: Callable[[tuple[bytes, ...]], int],
    ) -> bytes:
        """What is known of each of a block's keys, or found out now. A block's keys fit in here."""
        while True:
            try:
                return bytes(map(self.__getitem__, keys()))
            except KeyError:
                for key in set(keys()):
                    if key not in self:
                        self.keep(key, find(key), sum(map(len, key)))


class _Judge:
    """What a target's lines in a window look like, whatever their format."""

    def __init__(self, target: Target, window: Window) -> None:
        self._agent = agent_expression(target.user_agent)
        self._window = window
        self._outcomes = _Memory()

    def second(self, second: bytes) -> int:
        """Where all times of a second of UTC such as "2023-11-21T10:00:00" are."""
        time = parse_time(second + b"Z")
        return _UNSURE if time is None else self._span(time, time + 1.0)

    def time(self, time: float | None) -> int:
        """Where a time is."""
        return _UNSURE if time is None else self._span(time, time)

    def _span(self, first: float, last: float) -> int:
        if self._window.start <= first and last <= self._window.end:
            return _INSIDE
        return _OUTSIDE if last < self._window.start or first > self._window.end else _UNSURE

    def verdict(self, values: Mapping[str, Any]) -> int:
        """What there is to do with a line of these fields that is in the window."""
        agent = values.get("user_agent")
        if agent is None or self._agent.search(agent[:AGENT_LIMIT]):
            return _MATTERS
        outcome = tuple(values.get(name) for name in OUTCOME)
        return self._outcomes.get(outcome) or self._outcomes.keep(
            outcome, _failed(*outcome), sum(map(len, map(str, outcome)))
        )


_BESIDE = (
    ("method", "GET"),
    ("upstream_service_ms", 1.0),
    ("upstream_host", "192.0.2.1:80"),
    ("upstream_local", "192.0.2.1:80"),
    ("downstream_local", "192.0.2.1:80"),
)
"""Fields on whose presence `classify` builds where status, flags and details leave it open."""


def _failed(
    status: int | None, flags: tuple[str, ...] | None, details: str | None, terminated: str | None
) -> int:
    """Whether the serving side failed; it matters when the fields beside decide."""
    found = set()
    for there in itertools.product((False, True), repeat=len(_BESIDE)):
        beside: dict[str, Any] = {
            name: value for (name, value), one in zip(_BESIDE, there, strict=True) if one
        }
        request = ProxyRequest(
            time=0.0,
            status=status,
            flags=flags or (),
            details=details,
            termination_details=terminated,
            **beside,
        )
        found.add(server_fault(request, classify(request)))
    if len(found) > 1:
        return _MATTERS
    return _COUNT_FAILED if True in found else _COUNT


# Text

_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d"
_WRITTEN = rf"(?P<written>{_SECOND})(?:\.\d{{1,9}})?(?:Z|[+-]\d\d:\d\d) (?:std(?:out|err) F )?"
"""A container runtime's prefix, as `triage.cri.take_apart` takes it off."""
_PREFIX = re.compile(_WRITTEN.encode())
_NOT_A_PREFIX = r"(?!\d{4}-|std|\{)"
"""The line's own text looks neither like one nor like one of Docker's."""
_ISO = rf"(?P<time>{_SECOND})(?:\.\d{{1,9}})?Z"


@dataclass(frozen=True, slots=True)
class _Expression:
    """Fits a line of the format or, with empty groups, any other."""

    find: Callable[[bytes], list[tuple[bytes, ...]]]
    """All matches in a block, each with its groups."""
    moments: Sequence[int]
    """Which groups have the second that it is of: behind that of the prefix, if there is one."""
    keys: Sequence[int]
    """Which groups its verdict depends on."""
    quotes: int | None
    """How many it has, if that is to be counted."""


class _TextFilter:
    def __init__(self, form: TextFormat, judge: _Judge) -> None:
        self._form = form
        self._judge = judge
        self._verdicts = _Memory()
        self._expressions: dict[tuple[bool, bool], _Expression] = {}
        parts = form.octets(loose=False) or []
        self._time = next(field for field, _ in parts if field is not None and field.name == "time")
        self._iso = self._time.strict == f"(?:{ISO}|-)"
        self._keys = _runs(parts)

    def sort(self, block: bytes, *, failed_too: bool) -> Sorted:
        prefixed = _PREFIX.match(block) is not None
        for loose in (True, False):
            found = self._sort(block, self._expression(prefixed, loose), failed_too)
            if found is not None:
                return found
        return Sorted(block.split(b"\n"))

    def _sort(self, block: bytes, expression: _Expression, failed_too: bool) -> Sorted | None:
        """Sort a block; None when the expression was too loose for it."""
        groups = list(zip(*expression.find(block), strict=True))
        moments = [groups[at] for at in expression.moments]
        if not _even(block, expression, moments[-1]):
            return None
        places = {one: self._place(one) for one in set(zip(*moments, strict=True))}
        if set(places.values()) == {_OUTSIDE}:
            return Sorted([], len(moments[-1]))
        keys = [groups[at] for at in expression.keys]
        fates = self._verdicts.of(lambda: zip(*keys, strict=True), self._verdict)
        if set(places.values()) != {_INSIDE}:
            pairs = zip(map(places.__getitem__, zip(*moments, strict=True)), fates, strict=True)
            fates = bytes(fate if place == _INSIDE else place for place, fate in pairs)
        return _sorted(block, fates, failed_too)

    def _place(self, moments: tuple[bytes, ...]) -> int:
        *prefix, moment = moments
        if prefix and parse_time(prefix[0] + b"Z") is None:  # then it is no prefix
            return _UNSURE
        if self._iso or not moment:
            return self._judge.second(moment)
        return self._judge.time(self._time.convert(moment.decode("ascii", "replace")))

    def _verdict(self, key: tuple[bytes, ...]) -> int:
        values: dict[str, Any] = {}
        for (pattern, fields), text in zip(self._keys, key, strict=False):
            match = pattern.fullmatch(text)
            if match is None:  # of another form
                return _UNSURE
            for field, value in zip(fields, match.groups(), strict=True):
                values[field.name] = field.convert(value.decode("utf-8", "replace"))
        return self._judge.verdict(values)

    def _expression(self, prefixed: bool, loose: bool) -> _Expression:
        found = self._expressions.get((prefixed, loose))
        if found is None:
            found = self._expressions[prefixed, loose] = self._compiled(prefixed, loose)
        return found

    def _compiled(self, prefixed: bool, loose: bool) -> _Expression:
        parts = self._form.octets(loose=loose) or []
        source = (_WRITTEN if prefixed else "") + _NOT_A_PREFIX
        for run in _grouped(parts):
            text = "".join(part for _, part in run)
            name = next((field.name for field, _ in run if field is not None), "")
            if name == "time":
                source += _ISO if self._iso else f"(?P<time>{text})"
            else:
                source += f"({text})" if name in _WANTED else text
        pattern = re.compile(rf"{source}()\r?\n|[^\n]*+\n".encode(), re.DOTALL)
        time = pattern.groupindex["time"] - 1
        last = pattern.groups - 1  # which is empty: a line of no form at all has groups too
        keys = [at for at in range(int(prefixed), last) if at != time] or [last]
        literals = "".join(part for field, part in parts if field is None)
        return _Expression(
            find=pattern.findall,
            moments=[0, time] if prefixed else [time],
            keys=keys,
            quotes=literals.count('"') if loose else None,
        )


Parts = list[tuple[Field | None, str]]


def _grouped(parts: Parts) -> list[Parts]:
    """The parts, with those of the outcome that stand side by side together."""
    runs: list[Parts] = []
    for at, (field, part) in enumerate(parts):
        before = parts[at - 2][0] if at > 1 else None
        if field is not None and before is not None and {field.name, before.name} <= _OUTCOME:
            runs[-2:] = [[*runs[-2], *runs[-1], (field, part)]]
        else:
            runs.append([(field, part)])
    return runs


def _runs(parts: Parts) -> list[tuple[re.Pattern[bytes], list[Field]]]:
    """Expressions for what `_Expression.key` gives, and the fields in their groups."""
    found = []
    for run in _grouped(parts):
        fields = [field for field, _ in run if field is not None]
        if fields and fields[0].name in _WANTED - {"time"}:
            source = "".join(part if field is None else f"({part})" for field, part in run)
            found.append((re.compile(source.encode(), re.DOTALL), fields))
    return found


def _even(block: bytes, expression: _Expression, moments: Sequence[bytes]) -> bool:
    """Whether each match is a line, and no field took what was meant to end it."""
    if len(block) - len(block.replace(b"\n", b"")) != len(moments):  # six times as fast as count
        return False
    if expression.quotes is None:
        return True
    quotes = block.count(b'"')
    others = moments.count(b"")
    if others:
        lines = zip(moments, block.split(b"\n"), strict=False)
        quotes -= sum(line.count(b'"') for moment, line in lines if not moment)
    return quotes == expression.quotes * (len(moments) - others)


def _sorted(block: bytes, fates: bytes, failed_too: bool) -> Sorted:
    failed = fates.count(_COUNT_FAILED) if failed_too else 0
    inside = fates.count(_COUNT) + failed
    skipped = inside + fates.count(_OUTSIDE)
    if skipped == len(fates):
        return Sorted([], skipped, inside, failed)
    dropped = _DROPPED_TOO if failed_too else _DROPPED
    lines = zip(fates, block.split(b"\n"), strict=False)
    return Sorted([line for fate, line in lines if fate not in dropped], skipped, inside, failed)


# JSON


class _JsonFilter:
    def __init__(
        self, form: JsonFormat | NamedJson, members: Sequence[Member], judge: _Judge
    ) -> None:
        self._form = form
        self._judge = judge
        self._verdicts = _Memory()
        self._members = [one for one in members if one.name != "time"]
        self._times = [one for one in members if one.name == "time"]
        line, places = _structure([*self._members, *self._times])
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(line).decode
        self._values = operator.attrgetter(*places)

    def sort(self, block: bytes, *, failed_too: bool) -> Sorted:
        if not self._regular(block):
            return Sorted(block.split(b"\n"))
        return _sorted(block, bytes(map(self._fate, block.split(b"\n")[:-1])), failed_too)

    def _fate(self, raw: bytes) -> int:
        text = raw if raw[:1] == b"{" else _bare(raw)
        if b'"log"' in text:  # it may be one of Docker's
            return _UNSURE
        try:
            values = self._values(self._decode(text))
        except (ValueError, AttributeError, RecursionError):  # for the line parser to say
            return _UNSURE
        key, times = values[: len(self._members)], values[len(self._members) :]
        verdict = self._verdicts.get(key) or self._verdicts.keep(key, self._verdict(key), len(raw))
        if verdict == _UNSURE:
            return verdict
        place = self._judge.time(self._time(times))
        return verdict if place == _INSIDE else place

    def _regular(self, block: bytes) -> bool:
        """Whether no key has to be read as another: what the first line has, a block's lines have.

        A format is a configuration's; no client can add a key.
        """
        if not isinstance(self._form, NamedJson):
            return True
        line = block[: block.find(b"\n")]
        try:
            found = msgspec.json.decode(line[max(0, line.find(b"{")) :])
        except (ValueError, RecursionError):
            return True
        known = {one.path[0] for one in (*self._members, *self._times)}
        return not isinstance(found, dict) or not any(
            self._form.field_of(key) in _WANTED for key in found.keys() - known
        )

    def _time(self, times: Sequence[Any]) -> float | None:
        found = [
            one.convert(value)
            for one, value in zip(self._times, times, strict=True)
            if value is not msgspec.UNSET
        ]
        return found[0] if len(found) == 1 else None

    def _verdict(self, key: Sequence[Any]) -> int:
        values: dict[str, Any] = {}
        for one, value in zip(self._members, key, strict=True):
            if value is msgspec.UNSET:
                continue
            if one.name in values:
                return _UNSURE  # which of them counts?
            values[one.name] = one.convert(value)
        if isinstance(self._form, NamedJson) and not self._form.tells(values):
            return _UNSURE
        return self._judge.verdict(values)


def _bare(raw: bytes) -> bytes:
    """A line without the runtime's prefix; empty when there is no JSON behind one."""
    match = _PREFIX.match(raw)
    if match is None or raw[match.end() : match.end() + 1] != b"{":
        return b""
    return raw[match.end() :] if parse_time(match["written"] + b"Z") is not None else b""


def _json_filter(
    form: JsonFormat | NamedJson, members: Sequence[Member], judge: _Judge
) -> _JsonFilter | None:
    names = {one.name for one in members}
    if "time" not in names or len(names) == 1:
        return None
    try:
        return _JsonFilter(form, members, judge)
    except ValueError:  # a key that msgspec takes for no field's name
        return None


def _structure(members: Sequence[Member]) -> tuple[type, list[str]]:
    """A type that has these members and no others, and where in it each of them is."""
    numbers: dict[tuple[str, ...], str] = {}
    inside: dict[tuple[str, ...], list[tuple[str, ...]]] = {(): []}
    for one in members:
        for length in range(1, len(one.path) + 1):
            path = one.path[:length]
            if path not in numbers:
                numbers[path] = f"f{len(numbers)}"
                inside.setdefault(path[:-1], []).append(path)

    def kind(path: tuple[str, ...]) -> Any:
        if path not in inside:
            return int | str | None | msgspec.UnsetType
        return _struct([(numbers[one], one[-1], kind(one)) for one in inside[path]])

    places = [
        ".".join(numbers[one.path[:length]] for length in range(1, len(one.path) + 1))
        for one in members
    ]
    return kind(()), places


def _struct(fields: Sequence[tuple[str, str, Any]]) -> Any:
    return msgspec.defstruct(
        "Line",
        [(name, kind, msgspec.UNSET) for name, _, kind in fields],
        rename={name: key for name, key, _ in fields},
    )
