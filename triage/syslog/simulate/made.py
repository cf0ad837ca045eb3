"""Programs that no catalogue knows: a seed's own made-up daemons, so that each fleet is another."""

from __future__ import annotations

import numpy as np

from triage.syslog.simulate.catalogue import RATES, SCALED, Catalogue, Message
from triage.syslog.simulate.settings import FleetSettings
from triage.syslog.simulate.variables import listed

_HEADS = listed(
    "stor net virt sys clu mon perf snap image lease quota agent hw fan psu ipmi vswitch"
)
_TAILS = ["d", "-agent", "-mgr", "mon", "ctl", "-helper", "-sync"]
_SUBJECTS = listed(
    "volume replica snapshot lease session heartbeat queue worker cache index transfer policy "
    "sensor module channel route pool slot journal cursor ticket quota probe target"
)
_VERBS = listed(
    "started finished refreshed updated released acquired expired rejected retried resumed "
    "scheduled skipped loaded flushed verified moved closed opened registered dropped"
)
_DETAILS = (
    "{n:1-5000} entries", "id={uuid}", "id {hex:8}", "for {vm}", "on {path}", "from {ip}",
    "to {ip}:{port}", "in {n:1-60000} ms", "({n:0-100}%)", "by {user}", "at 0x{hex:12}",
    "state {idle|active|standby}", "size={n:1-60000}k", "members {ips}", "via eth{n:0-3}",
    "rc={n:0-3}", "took {float}s", "key \"{word}\"", "host {peer}", "mac {mac}", "v{ver}",
    "[{words}]", "tag '{hex:16}'", "attempt {n:1-9}/{n:3-9}", "reason: {words}", "name={domain}",
)  # fmt: skip
_LEVELS = (
    "",
    "",
    "",
    "",
    "info: ",
    "INFO ",
    "notice: ",
    "warning: ",
    "WARN ",
    "error: ",
    "debug: ",
)
_GLUE = (" ", " ", ", ", "; ", " - ")


def add_made(book: Catalogue, settings: FleetSettings, rng: np.random.Generator) -> None:
    """Add made-up programs with 8 to 30 messages each until there are enough templates."""
    missing = settings.templates - settings.drifts - len(book.messages)
    while missing > 0:
        program = f"{_of(rng, _HEADS)}{_of(rng, _TAILS)}"
        role = _of(rng, ["linux", "linux", "kvm", "deb", "rpm", "box", "hv"])
        pid = _of(rng, ["daemon", "daemon", "none", "fork"])
        for _ in range(min(int(rng.integers(8, 30)), missing)):
            _add_one(book, rng, program, role, pid)
        missing = settings.templates - settings.drifts - len(book.messages)


def _add_one(book: Catalogue, rng: np.random.Generator, program: str, role: str, pid: str) -> None:
    letter = "ccoouuuurrrrrrrvvvv"[int(rng.integers(19))]
    message = Message(
        program=program,
        pid=pid,
        text=_text(rng),
        roles=frozenset({role}),
        rate=RATES[letter],
        scaled=letter in SCALED,
        bursty=bool(rng.random() < 0.25),
        load=_of(rng, ["flat", "flat", "office", "night"]),
    )
    before = len(book.messages)
    index = book.add(message)
    if index == before and before and rng.random() < 0.15:
        _chain(book, rng, index)


def _chain(book: Catalogue, rng: np.random.Generator, index: int) -> None:
    """Make the message before bring forth this one, which then does not come by itself."""
    cause, effect = book.messages[index - 1], book.messages[index]
    if cause.program == effect.program:
        book.follow(index - 1, index, float(rng.uniform(0.5, 1)), float(np.exp(rng.uniform(-2, 3))))


def _text(rng: np.random.Generator) -> str:
    subject, verb = _of(rng, _SUBJECTS), _of(rng, _VERBS)
    count = int(rng.integers(1, 4))
    details = [_DETAILS[at] for at in rng.permutation(len(_DETAILS))[:count].tolist()]
    first = f"{_of(rng, _LEVELS)}{subject} {verb} {details[0]}"
    if rng.random() < 0.2:
        first = f"{_of(rng, _LEVELS)}{verb} {subject} {details[0]}"
    glue = _of(rng, list(_GLUE))
    return glue.join([first, *details[1:]])


def _of(rng: np.random.Generator, values: list[str] | tuple[str, ...]) -> str:
    return values[int(rng.integers(len(values)))]
