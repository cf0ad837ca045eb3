"""Fuzz the AgentX codec, framer and session: `python tests/fuzz/fuzz_pdu.py --seconds 60`.

Any octets must end in a PDU that survives being encoded again, or in ParseError; a session that is
fed them must answer in whole Responses, or end in RemoteProtocolError. Anything else is a finding:
it is printed, with the input in hex, and the exit code is 1.

Guided by coverage where atheris is installed, else by mutation of PDUs of every type.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vmmib.agentx import pdu
from vmmib.agentx.pdu import Framer, ParseError, SearchRange, ValueType, VarBind, decode, encode
from vmmib.agentx.session import RemoteProtocolError, Session
from vmmib.agentx.view import Column, Table, View

ROOT = (1, 3, 6, 1, 2, 1, 236)
SESSION_ID = 5
VIEW = View(
    [
        Table(
            ROOT,
            [Column(1, ValueType.INTEGER, int), Column(2, ValueType.OCTET_STRING, lambda _: b"x")],
            [(1,), (2, 3), (4,)],
            [1, 2, 3],
        )
    ]
)
_NAMED = tuple(
    VarBind((*ROOT, number), kind, value)
    for number, (kind, value) in enumerate(
        [
            (ValueType.INTEGER, -1),
            (ValueType.OCTET_STRING, b"abcde"),
            (ValueType.OBJECT_IDENTIFIER, ROOT),
            (ValueType.IP_ADDRESS, b"\1\2\3\4"),
            (ValueType.COUNTER64, 2**63),
            (ValueType.END_OF_MIB_VIEW, None),
        ]
    )
)
_RANGES = (SearchRange(ROOT, (1, 3, 6, 1, 2, 1, 237)), SearchRange((*ROOT, 1, 1), include=True))
_IDS = {"session_id": SESSION_ID, "transaction_id": 2, "packet_id": 3}
_PDUS: list[pdu.Pdu] = [
    pdu.Open(**_IDS, agent_id=ROOT, description="x"),
    pdu.Close(**_IDS),
    pdu.Register(**_IDS, context="c", subtree=ROOT, range_subid=7, upper_bound=9),
    pdu.Unregister(**_IDS, subtree=ROOT),
    pdu.Get(**_IDS, context="c", ranges=_RANGES),
    pdu.GetNext(**_IDS, ranges=_RANGES),
    pdu.GetBulk(**_IDS, non_repeaters=1, max_repetitions=9, ranges=_RANGES),
    pdu.TestSet(**_IDS, varbinds=_NAMED),
    pdu.CommitSet(**_IDS),
    pdu.UndoSet(**_IDS),
    pdu.CleanupSet(**_IDS),
    pdu.Notify(**_IDS, context="c", varbinds=_NAMED),
    pdu.Ping(**_IDS),
    pdu.IndexAllocate(**_IDS, varbinds=_NAMED, any_index=True),
    pdu.IndexDeallocate(**_IDS, varbinds=_NAMED),
    pdu.AddAgentCaps(**_IDS, oid=ROOT, description="x"),
    pdu.RemoveAgentCaps(**_IDS, oid=ROOT),
    pdu.Response(**_IDS, error=263, index=1, varbinds=_NAMED),
]
SEEDS = [encode(one, order) for one in _PDUS for order in (True, False)]
INTERESTING = (0, 1, 2, 4, 8, 16, 24, 31, 123, 124, 127, 128, 129, 254, 255)


def check(data: bytes) -> None:
    """Feed `data` to everything that reads octets; raises on a finding."""
    try:
        one = decode(data)
    except ParseError:
        pass
    else:
        assert decode(encode(one)) == one
        assert decode(encode(one, network_byte_order=False)) == one
    session = Session({b"": VIEW, b"c": VIEW})
    packet = session.send(pdu.Open())
    session.data_to_send()
    session.receive_data(encode(pdu.Response(session_id=SESSION_ID, packet_id=packet)))
    half = len(data) // 2
    sent = session.serve(data) or b""
    try:
        for piece in (data, data[:half], data[half:]):
            session.receive_data(piece)
    except RemoteProtocolError:
        pass
    sent += session.data_to_send()
    frames, error = Framer().feed(sent)
    assert error is None
    assert sum(map(len, frames)) == len(sent)
    for frame in frames:
        assert isinstance(decode(frame), pdu.Response)


def mutate(rng: random.Random) -> bytes:
    """One or two PDUs, damaged in a few places; often with a payload length that fits."""
    data = bytearray(b"".join(rng.choices(SEEDS, k=rng.choice((1, 1, 2)))))
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice(INTERESTING)
            case 2:
                del data[at : at + rng.choice((1, 4, 8))]
            case 3:
                data[at:at] = rng.randbytes(rng.choice((1, 4, 8)))
            case _:
                source = rng.choice(SEEDS)
                data[at : at + 8] = source[at : at + 8]
        if not data:
            return b""
    if len(data) > pdu.HEADER_SIZE and rng.random() < 0.7:
        order = "big" if data[2] & 16 else "little"
        data[16:20] = (len(data) - pdu.HEADER_SIZE).to_bytes(4, order)
    return bytes(data)


def with_atheris(seconds: float) -> int:
    """Run under libFuzzer; it exits by itself on a finding."""
    import atheris  # noqa: PLC0415

    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], f"-max_total_time={max(1, int(seconds))}", corpus], check)
        atheris.Fuzz()
    return 0


def without(seconds: float, seed: int) -> int:
    """Mutate until the time is up."""
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        data = mutate(rng)
        count += 1
        try:
            check(data)
        except Exception as error:
            print(f"finding: {type(error).__name__}: {error}\ninput: {data.hex()}")
            return 1
    print(f"{count} inputs, no finding (seed {seed})")
    return 0


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the mutations")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    try:
        return with_atheris(options.seconds)
    except ModuleNotFoundError:
        return without(options.seconds, seed)


if __name__ == "__main__":
    sys.exit(main())
