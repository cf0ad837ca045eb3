"""Fuzz what reads strangers' text: `python -m tests.fuzz.fuzz_lines --seconds 60`.

Any octets, as a line of a log, a payload, an export, a selector or an expression, must come to a
value or to the reader's own error, and masking must come to an end of its own: masked again it says
the same. Anything else is a finding: it is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from pathlib import Path

from triage import cri
from triage.applog import formats as app_formats
from triage.kube.selectors import parse_selector
from triage.masking import mask
from triage.promql import parse_expression
from triage.proxylog.flags import classify
from triage.proxylog.formats import ISTIO_TEXT, compile_format
from triage.proxylog.own import own_line
from triage.recording import RecordingError, load
from triage.sources.alertmanager_webhook import PayloadError, parse_payload
from triage.triggers import parse_matchers

DATA = Path(__file__).parents[1] / "triage" / "data"
FORMATS = [compile_format(one) for one in ("auto", ISTIO_TEXT)]
PIECES = (
    b'"',
    b" ",
    b"\\",
    b"{",
    b"}",
    b"-",
    b"[",
    b"]",
    b"=",
    b"\x00",
    b"\xff",
    b"://",
    b"%",
    b",",
)
TEXTS = [
    b'{"version":"4","alerts":[{"status":"firing","labels":{"a":"b"},"startsAt":"2025-07-16T19:49:00Z"}]}',
    b'probe_http_status_code{job="blackbox", instance=~"https://.*"}',
    b"app in (a, b), !c, d!=e",
    b'{"format":"triage-incident","version":1}',
    b"Authorization: Bearer abc.def.ghi password=hunter2 https://user:secret@host/?token=x",
    b"2025-07-16T19:48:37.303Z stdout P part of a line",
]  # fmt: skip


def seeds() -> list[bytes]:
    """Return recorded lines of every kind, and a few texts."""
    found = [
        line
        for path in sorted((DATA / "applog").iterdir())
        for line in path.read_bytes().splitlines()[:40]
    ]
    recorded = json.loads((DATA / "envoy" / "recordings.json").read_text(encoding="utf-8"))
    found += [
        text.encode("utf-8", "surrogateescape") for text in _strings(recorded) if len(text) > 60
    ]
    return found + TEXTS


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _strings(part)]


def check(data: bytes) -> None:
    """Feed `data` to everything that reads text; raises on a finding."""
    for line in cri.lines(data.split(b"\n")):
        for form in FORMATS:
            request = form.parse(line.text, line.time, cut=line.cut)
            if request is not None:
                assert classify(request).explanation
        app_formats.parse(line.text, reference=1.0)
        own_line(line.text)
        masked = mask(line.text)
        assert mask(masked) == masked
    text = data.decode("utf-8", "replace")
    for read in (parse_selector, parse_expression, parse_matchers):
        with contextlib.suppress(ValueError):
            read(text)
    with contextlib.suppress(PayloadError):
        parse_payload(data)
    with contextlib.suppress(RecordingError):
        load(data)


def mutate(rng: random.Random, lines: list[bytes]) -> bytes:
    """Return one or two lines, damaged in a few places."""
    data = bytearray(b"\n".join(rng.choices(lines, k=rng.choice((1, 1, 2)))))
    for _ in range(rng.randint(0, 5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at:at] = rng.choice(PIECES) * rng.choice((1, 1, 2, 50))
            case 1:
                del data[at : at + rng.choice((1, 5, 40))]
            case 2:
                data[at : at + 1] = rng.randbytes(1)
            case _:
                other = rng.choice(lines)
                start = rng.randrange(len(other) + 1)
                data[at:at] = other[start : start + 30]
    return bytes(data)


def fuzz(seconds: float, seed: int) -> int:
    """Fuzz for so long; return the exit code."""
    rng = random.Random(seed)
    lines = seeds()
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutate(rng, lines)
        try:
            check(data)
        except Exception as error:
            print(f"finding: {type(error).__name__}: {error}\ninput: {data!r}", file=sys.stderr)
            return 1
        count += 1
    print(f"{count} inputs, no finding (seed {seed})")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    return fuzz(given.seconds, seed)


if __name__ == "__main__":
    sys.exit(main())
