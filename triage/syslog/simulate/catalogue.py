"""The messages that a fleet's programs write, and which of them bring forth which.

How the texts below are read
- `@ PROGRAM PID ROLE...` opens a section: its messages are of hosts that have all these roles. PID
  is `fork` (another one each time), `daemon` (one until the host boots) or `none`.
- `RATE[:LABEL][~LOAD] TEXT` is a message that comes by itself. RATE, events a day and host:
  b 400, f 60, c 12, o 2, u 0.3, r 0.03, v 0.004, x never; as a capital, in clusters. b, f and c are
  scaled to reach the number of lines asked for. LOAD: office, night or flat (default).
- `JPERIOD[:LABEL] SHARE TEXT` comes each PERIOD seconds, on this share of the hosts.
- `BSECONDS[/RATE] [SHARE] TEXT` comes so long after a boot began; `S...` after a shutdown began.
- `>P LAG [@TARGET] TEXT` is an effect of the message above, `>>` of the effect above: with
  probability P after LAG seconds in the mean, on the same host, or on `@peer` (each other
  hypervisor of the site), `@box` (the nearest box). `*LABEL` instead of a text: that message.
  `PROGRAM[d]|TEXT`, `PROGRAM[f]|TEXT`, `PROGRAM|TEXT`: written by another program.
- `{kind}`, `{kind:parameters}` are variable parts (`variables`); with `#N` at the end, parts of
  the same kind and N have the same value in a line.

Labels with a dot are symptoms, by what they are of: `peer.` another host is gone, `peerup.` and is
back, `link.` and `linkup.`, `stor.` and `storup.` a storage stall, `hang.` a host about to hang.
All of them have a rate of their own too: ordinary operation has its share.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from triage.syslog.simulate import messages

RATES = {"b": 400.0, "f": 60.0, "c": 12.0, "o": 2.0, "u": 0.3, "r": 0.03, "v": 0.004, "x": 0.0}
SCALED = frozenset("bfc")
_PIDS = {"d": "daemon", "f": "fork"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What follows a message."""

    cause: int
    """Index of the message."""
    effect: int
    probability: float
    lag: float
    """Mean, seconds."""
    target: str = ""
    """"" (the same host), "peer" or "box"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A kind of line."""

    program: str
    pid: str
    """none, fork or daemon."""
    text: str
    roles: frozenset[str]
    rate: float = 0.0
    """Events a day and host, by itself."""
    scaled: bool = False
    bursty: bool = False
    load: str = "flat"
    label: str = ""
    period: float = 0.0
    """Seconds, of a job; 0: none."""
    share: float = 1.0
    """Of the hosts with these roles that have it."""
    boot: float | None = None
    """Seconds after a boot began."""
    stop: float | None = None
    """Seconds after a shutdown began."""


@dataclass(slots=True)
class Catalogue:
    """Messages and their chains, as they are put together."""

    messages: list[Message] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[str, str], int] = field(default_factory=dict)
    _later: list[tuple[int, str, float, float, str]] = field(default_factory=list)

    def add(self, message: Message) -> int:
        """Add a message, or find the one with the same program and text."""
        key = (message.program, message.text)
        index = self._known.get(key)
        if index is None:
            index = self._known[key] = len(self.messages)
            self.messages.append(message)
        if message.label:
            self.labels[message.label] = index
        return index

    def follow(self, cause: int, effect: int, probability: float, lag: float, to: str = "") -> None:
        """Add a chain's link."""
        self.effects.append(
            Effect(cause=cause, effect=effect, probability=probability, lag=lag, target=to)
        )

    def read(self, text: str) -> None:
        """Add the messages of a text in the form above.

        Raises ValueError, which names the line: the texts are part of the program.
        """
        reader = _Reader(self)
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                reader.line(line)

    def link(self) -> None:
        """Resolve the `*LABEL`s; drop links that would close a circle."""
        for cause, label, probability, lag, target in self._later:
            self.follow(cause, self.labels[label], probability, lag, target)
        self._later.clear()

    def later(self, cause: int, label: str, probability: float, lag: float, target: str) -> None:
        """Note a link to a label."""
        self._later.append((cause, label, probability, lag, target))


class _Reader:
    """Takes the lines of a text one by one."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._to = catalogue
        self._program, self._pid, self._roles = "", "none", frozenset[str]()
        self._stack: list[int] = []

    def line(self, line: str) -> None:
        if line.startswith("@"):
            program, pid, *roles = line[1:].split()
            self._program, self._pid, self._roles = program, pid, frozenset(roles)
        elif line.startswith(">"):
            self._effect(line)
        else:
            head, _, text = line.partition(" ")
            self._stack = [self._to.add(self._head(head, text))]

    def _effect(self, line: str) -> None:
        depth = len(line) - len(line.lstrip(">"))
        probability, lag, text = line[depth:].split(" ", 2)
        target = ""
        if text.startswith("@"):
            target, text = text[1:].split(" ", 1)
        cause = self._stack[depth - 1]
        if text.startswith("*"):
            self._to.later(cause, text[1:], float(probability), float(lag), target)
            return
        label = ""
        if text.startswith(":"):
            label, text = text[1:].split(" ", 1)
        index = self._to.add(replace(self._message(text), label=label))
        self._to.follow(cause, index, float(probability), float(lag), target)
        self._stack[depth:] = [index]

    def _head(self, head: str, text: str) -> Message:
        head, _, load = head.partition("~")
        head, _, label = head.partition(":")
        head, _, rate = head.partition("/")
        kind, number = head[0], head[1:]
        share = 1.0
        timed = kind in "JBS" and bool(number)
        if timed and text[0] in ".01" and " " in text:
            first, _, rest = text.partition(" ")
            share, text = float(first), rest
        plain = replace(self._message(text), label=label, load=load or "flat", share=share)
        if kind == "J":
            return replace(plain, period=float(number))
        if timed:
            own = RATES[rate or "x"]
            seconds = float(number)
            if kind == "B":
                return replace(plain, boot=seconds, rate=own)
            return replace(plain, stop=seconds, rate=own)
        letter = kind.lower()
        return replace(plain, rate=RATES[letter], scaled=letter in SCALED, bursty=kind != letter)

    def _message(self, text: str) -> Message:
        program, pid = self._program, self._pid
        head, bar, rest = text.partition("|")
        if bar and " " not in head and "{" not in head:
            program, text, pid = head, rest, "none"
            if head.endswith("]"):
                program, pid = head[:-3], _PIDS[head[-2]]
        return Message(program=program, pid=pid, text=text, roles=self._roles)


def catalogue() -> Catalogue:
    """Return the catalogue that all fleets share, not yet linked."""
    result = Catalogue()
    for text in messages.ALL:
        result.read(text)
    return result
