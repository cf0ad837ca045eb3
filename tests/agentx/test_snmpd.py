"""Against the real master agent, net-snmp's snmpd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agentx.live import Live
from tests.netsnmp import Snmpd, Snmptrapd, needs_netsnmp, wait_until
from vmmib.agentx.address import parse_address
from vmmib.agentx.connection import Capability, Notification, Registration
from vmmib.agentx.pdu import ErrorStatus, ValueType, VarBind
from vmmib.agentx.view import Column, Table, View

pytestmark = needs_netsnmp

ROOT = (1, 3, 6, 1, 2, 1, 236)
TEXT = ".1.3.6.1.2.1.236"
NOTIFICATION = (*ROOT, 0, 1)
TRAP_OID = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
SYS_UP_TIME = (1, 3, 6, 1, 2, 1, 1, 3, 0)


def table(rows: Sequence[int], name: str = "vm") -> View:
    columns = [
        Column(2, ValueType.OCTET_STRING, lambda row: f"{name}{row}".encode()),
        Column(3, ValueType.INTEGER, lambda row: -row),
        Column(4, ValueType.COUNTER64, lambda row: row << 40),
        Column(5, ValueType.GAUGE32, lambda row: None if row % 3 else 2**32 - 1),
        Column(6, ValueType.OBJECT_IDENTIFIER, lambda row: (1, 3, 6, 1, 4, 1, row)),
        Column(7, ValueType.TIME_TICKS, lambda row: row),
        Column(8, ValueType.IP_ADDRESS, lambda _: b"\xc0\0\2\1"),
        Column(9, ValueType.COUNTER32, lambda row: row),
        Column(10, ValueType.OCTET_STRING, lambda _: b""),
    ]
    scalars = [Column(1, ValueType.INTEGER, len)]
    return View(
        [
            Table((*ROOT, 1, 4, 1), columns, [(row,) for row in rows], rows),
            Table((*ROOT, 1), scalars, ((0,),), [rows]),
        ],
        objects=[(*ROOT, 1, 2)],
    )


class Writable:
    """One INTEGER that can be SET to 1 or 2; commit and undo fail as told."""

    def __init__(self) -> None:
        self.value = 1
        self.calls: list[str] = []
        self.fail = ""
        self._new = self._old = 1

    def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:
        self.calls.append("test")
        self._old = self.value
        for index, one in enumerate(varbinds, 1):
            if one.oid != (*ROOT, 1, 1, 0):
                return ErrorStatus.NOT_WRITABLE, index
            if one.type is not ValueType.INTEGER:
                return ErrorStatus.WRONG_TYPE, index
            if one.value not in (1, 2):
                return ErrorStatus.WRONG_VALUE, index
            self._new = one.value
        return ErrorStatus.NO_ERROR, 0

    def commit(self) -> ErrorStatus:
        self.calls.append("commit")
        if self.fail == "commit":
            return ErrorStatus.COMMIT_FAILED
        self.value = self._new
        return ErrorStatus.NO_ERROR

    def undo(self) -> ErrorStatus:
        self.calls.append("undo")
        self.value = self._old
        return ErrorStatus.NO_ERROR

    def cleanup(self) -> None:
        self.calls.append("cleanup")


@contextlib.contextmanager
def served(snmpd: Snmpd, view: View | None = None, **options: Any) -> Iterator[Live]:
    """A subagent that serves `view` in the default context, registered and all."""
    options.setdefault("registrations", [Registration("", ROOT)])
    with Live(parse_address(snmpd.agentx_socket), **options) as live:
        live.call(lambda: live.subagent.set_view("", table(range(1, 13)) if view is None else view))
        wait_until(lambda: ready(live))
        yield live


def ready(live: Live) -> bool:
    claims = live.subagent._claims
    return live.call(lambda: all(claim.accepted for claim in claims.values()))


def test_the_whole_chain(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd, served(snmpd):
        walked = snmpd.walk(TEXT)
        assert len(walked) == 1 + 12 * 8 + 4
        oids = [tuple(map(int, line.oid[1:].split("."))) for line in walked]
        assert oids == sorted(set(oids))
        assert snmpd.walk(TEXT, bulk=True) == walked
        assert snmpd.walk(TEXT, v3=True) == walked
        for at in range(0, len(walked), 40):
            some = walked[at : at + 40]
            assert snmpd.get(*[line.oid for line in some]) == some
        by_oid = {line.oid.removeprefix(TEXT): line[1:] for line in walked}
        assert by_oid[".1.4.1.2.12"] == ("STRING", '"vm12"')
        assert by_oid[".1.4.1.3.12"] == ("INTEGER", "-12")
        assert by_oid[".1.4.1.4.12"] == ("Counter64", str(12 << 40))
        assert by_oid[".1.4.1.5.12"] == ("Gauge32", "4294967295")
        assert by_oid[".1.4.1.6.12"] == ("OID", ".1.3.6.1.4.1.12")
        assert by_oid[".1.4.1.8.12"] == ("IpAddress", "192.0.2.1")
        assert by_oid[".1.4.1.9.12"] == ("Counter32", "12")
        assert by_oid[".1.1.0"] == ("INTEGER", "12")
        # past the end the next subtree of the master follows, and it is not ours
        assert not snmpd.get_next(walked[-1].oid)[0].oid.startswith(TEXT + ".")


def test_get_bulk_of_columns(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd, served(snmpd):
        columns = [f"{TEXT}.1.4.1.{column}" for column in (2, 3, 9)]
        lines = snmpd.get_bulk(*columns, repetitions=5)
        assert [line.oid for line in lines] == [
            f"{column}.{row}" for row in range(1, 6) for column in columns
        ]


def test_what_does_not_exist(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd, served(snmpd):
        lines = snmpd.get(
            TEXT + ".1.4.1.2.99", TEXT + ".1.4.1.5.1", TEXT + ".1.2.0", TEXT + ".1.4.1.1.1",
            TEXT + ".9.0",
        )  # fmt: skip
        assert [line.type.split(" available")[0].split(" currently")[0] for line in lines] == [
            "No Such Instance",
            "No Such Instance",
            "No Such Instance",
            "No Such Object",
            "No Such Object",
        ]


def test_contexts(tmp_path: Path) -> None:
    contexts = ["esx1", "esx2"]
    registrations = [Registration(context, ROOT) for context in ("", *contexts)]
    with (
        Snmpd(tmp_path, contexts=contexts) as snmpd,
        served(snmpd, registrations=registrations) as live,
    ):
        for number, context in enumerate(contexts, 1):
            live.call(
                lambda context=context, number=number: live.subagent.set_view(  # type: ignore[misc]
                    context, table(range(1, 1 + number), context)
                )
            )
        first = TEXT + ".1.4.1.2.1"
        assert snmpd.get(first)[0].value == '"vm1"'
        for v3 in (False, True):
            for number, context in enumerate(contexts, 1):
                assert snmpd.get(first, context=context, v3=v3)[0].value == f'"{context}1"'
                assert len(snmpd.walk(TEXT, context=context, v3=v3)) == 1 + 8 * number
        # a context that is given up is nobody's, the others stay
        live.call(lambda: live.subagent.update_registrations(registrations[:2]))
        wait_until(lambda: snmpd.get(first, context="esx2")[0].type.startswith("No Such"))
        assert snmpd.get(first, context="esx1")[0].value == '"esx11"'


def test_sys_or_table(tmp_path: Path) -> None:
    capability = Capability("", (*ROOT, 2, 1), "VM-MIB of a test")
    with Snmpd(tmp_path) as snmpd:
        with served(snmpd, capabilities=[capability]) as live:
            rows = {line.value for line in snmpd.walk("1.3.6.1.2.1.1.9")}
            assert '"VM-MIB of a test"' in rows
            assert TEXT + ".2.1" in rows
            live.call(lambda: live.subagent.update_registrations([Registration("", ROOT)]))
            wait_until(
                lambda: (
                    '"VM-MIB of a test"'
                    not in {line.value for line in snmpd.walk("1.3.6.1.2.1.1.9")}
                )
            )
        assert snmpd.walk(TEXT) == []


def test_set(tmp_path: Path) -> None:
    handler = Writable()
    switch = TEXT + ".1.1.0"
    with Snmpd(tmp_path) as snmpd, served(snmpd, sets=handler):
        assert snmpd.set(switch, "i", "2").returncode == 0
        assert handler.value == 2
        wait_until(lambda: handler.calls == ["test", "commit", "cleanup"])
        for oid, kind, value, reason in (
            (switch, "i", "3", "wrongValue"),
            (switch, "s", "x", "wrongType"),
            (TEXT + ".1.4.1.2.1", "s", "x", "notWritable"),
        ):
            handler.calls.clear()
            done = snmpd.set(oid, kind, value)
            assert done.returncode != 0
            assert reason in done.stderr
            # the response to the manager does not wait for the last phase
            wait_until(lambda: handler.calls == ["test", "cleanup"])
        handler.calls.clear()
        handler.fail = "commit"
        assert "commitFailed" in snmpd.set(switch, "i", "1").stderr
        wait_until(lambda: handler.calls == ["test", "commit", "undo", "cleanup"])
        assert handler.value == 2


def test_set_is_undone_when_another_subagent_fails(tmp_path: Path) -> None:
    other_root = (1, 3, 6, 1, 2, 1, 235)
    mine, theirs = Writable(), Writable()

    class Theirs:
        """Accepts anything, and fails to commit."""

        def test(self, context: str, varbinds: Sequence[VarBind]) -> tuple[ErrorStatus, int]:
            return ErrorStatus.NO_ERROR, 0

        commit = theirs.commit
        undo = theirs.undo
        cleanup = theirs.cleanup

    theirs.fail = "commit"
    with (
        Snmpd(tmp_path) as snmpd,
        served(snmpd, sets=mine),
        served(snmpd, sets=Theirs(), registrations=[Registration("", other_root)]),
    ):
        done = snmpd.set(TEXT + ".1.1.0", "i", "2", ".1.3.6.1.2.1.235.1.0", "i", "1")
        assert "commitFailed" in done.stderr
        wait_until(lambda: mine.calls[-1] == "cleanup")
        assert mine.value == 1
        assert mine.calls.count("cleanup") == 1


def notification(number: int) -> Notification:
    return Notification(
        "",
        (
            VarBind(TRAP_OID, ValueType.OBJECT_IDENTIFIER, NOTIFICATION),
            VarBind((*ROOT, 1, 4, 1, 3, 1), ValueType.INTEGER, number),
        ),
    )


def numbers(trapd: Snmptrapd, count: int) -> list[int]:
    traps = trapd.notifications(count, oid=TEXT + ".0.1", timeout=20)
    return [int(trap.value(TEXT + ".1.4.1.3.1")) for trap in traps]


def test_notifications_arrive_in_order(tmp_path: Path) -> None:
    with (
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, traps_to=trapd) as snmpd,
        served(snmpd) as live,
    ):
        for number in range(100):
            live.call(lambda number=number: live.subagent.notify(notification(number)))  # type: ignore[misc]
        assert numbers(trapd, 100) == list(range(100))
        with_time = Notification(
            "",
            (VarBind(SYS_UP_TIME, ValueType.TIME_TICKS, 4711), *notification(100).varbinds),
        )
        live.call(lambda: live.subagent.notify(with_time))
        assert numbers(trapd, 101)[-1] == 100
        assert trapd.notifications(101, oid=TEXT + ".0.1")[-1].value(".1.3.6.1.2.1.1.3") == "4711"
        wait_until(lambda: live.stats.notifications_sent == 101)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_killed_and_restarted(tmp_path: Path, transport: str) -> None:
    with Snmptrapd(tmp_path) as trapd:
        snmpd = Snmpd(tmp_path, agentx=transport, traps_to=trapd)
        with snmpd, served(snmpd) as live:
            before = snmpd.walk(TEXT)
            for end in (snmpd.kill, snmpd.stop):
                end()
                wait_until(lambda: not live.stats.connected)
                live.call(lambda: live.subagent.notify(notification(7)))
                snmpd.start()
                wait_until(lambda: ready(live))
                assert snmpd.walk(TEXT) == before
            assert numbers(trapd, 2) == [7, 7]
            assert live.stats.reconnects == 2
            assert live.log.events().count("agentx_lost") == 2


def test_hung_and_continued(tmp_path: Path) -> None:
    with (
        Snmptrapd(tmp_path) as trapd,
        Snmpd(tmp_path, traps_to=trapd) as snmpd,
        served(snmpd, response_timeout=0.3, ping_interval=0.1) as live,
    ):
        snmpd.pause()
        live.call(lambda: live.subagent.notify(notification(1)))
        wait_until(lambda: not live.stats.connected)
        live.call(lambda: live.subagent.notify(notification(2)))
        # long enough for several tries, of which snmpd will later find the remains
        wait_until(lambda: live.call(lambda: live.subagent._backoff.attempt) >= 3)
        snmpd.resume()
        wait_until(lambda: ready(live))
        assert len(snmpd.walk(TEXT)) > 0
        assert sorted(set(numbers(trapd, 2))) == [1, 2]


def test_a_second_subagent_takes_over(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd:
        address = parse_address(snmpd.agentx_socket)
        with served(snmpd) as first, Live(address) as second:
            second.call(lambda: second.subagent.set_view("", table([1], "second")))
            wait_until(lambda: "agentx_registration_refused" in second.log.events())
            assert second.log.lines[-1][1]["error"] == "duplicateRegistration"
            assert second.stats.connected
            assert snmpd.get(TEXT + ".1.4.1.2.1")[0].value == '"vm1"'
            first.call(first.subagent.stop)
            wait_until(lambda: ready(second))
            assert second.log.events()[-1] == "agentx_registered"
            assert snmpd.get(TEXT + ".1.4.1.2.1")[0].value == '"second1"'


def test_the_lower_priority_number_serves(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd, served(snmpd):
        better = [Registration("", ROOT, priority=10)]
        with served(snmpd, table([1], "better"), registrations=better):
            assert snmpd.get(TEXT + ".1.4.1.2.1")[0].value == '"better1"'
        assert snmpd.get(TEXT + ".1.4.1.2.1")[0].value == '"vm1"'


def test_views_change_under_a_walk(tmp_path: Path) -> None:
    with Snmpd(tmp_path) as snmpd, served(snmpd) as live:
        done = False
        for step in range(1, 10):
            rows = range(step, step * 7)
            live.call(lambda rows=rows: live.subagent.set_view("", table(rows)))  # type: ignore[misc]
            oids = [
                tuple(map(int, line.oid[1:].split("."))) for line in snmpd.walk(TEXT, bulk=True)
            ]
            assert oids == sorted(set(oids))
            done = bool(oids)
        assert done


def test_stopping_closes_the_session(tmp_path: Path) -> None:
    with Snmpd(tmp_path, options=["-Dagentx/master"]) as snmpd:
        with served(snmpd):
            assert snmpd.walk(TEXT)
        assert snmpd.walk(TEXT) == []
        wait_until(lambda: "close" in snmpd.log.read_text(errors="replace").lower())
