"""The manager against stand-in agents that misbehave, and against snmpd with every protocol."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.netsnmp import Snmpd, free_port, needs_netsnmp
from tests.triage.snmp_agent import Agent, PduType, integer, text
from triage.snmp import engine as engine_module
from triage.snmp.credentials import AUTH_PROTOCOLS, PRIV_PROTOCOLS, SnmpCredentials
from triage.snmp.engine import Engine, Engines, Peer, get_request
from triage.snmp.manager import Manager, ManagerSettings, SilenceError, UnresolvedError
from triage.snmp.values import Oid, Tag, Value
from triage.sources.errors import (
    DeniedError,
    DownError,
    GarbageError,
    SlowError,
    SourceError,
)

TABLE: Oid = (1, 3, 6, 1, 4, 1, 99, 1)
SYS_UP_TIME: Oid = (1, 3, 6, 1, 2, 1, 1, 3, 0)
PUBLIC = SnmpCredentials(community="public")


def manager(port: int, credentials: SnmpCredentials = PUBLIC, timeout: float = 0.5) -> Manager:
    return Manager(ManagerSettings("127.0.0.1", port, credentials, timeout, 1))


def table(rows: int, columns: int = 3, size: int = 4) -> dict[Oid, Value | Callable[[], Value]]:
    return {
        (*TABLE, column, row): text(b"x" * size)
        for column in range(1, columns + 1)
        for row in range(1, rows + 1)
    }


COLUMNS = [(*TABLE, column) for column in (1, 2, 3)]


@pytest.mark.asyncio
async def test_a_walk_gives_all_rows_and_no_others() -> None:
    values = table(100)
    del values[(*TABLE, 2, 50)]
    values[(*TABLE, 4, 1)] = integer(1)
    async with Agent(values) as agent:
        async with manager(agent.port).session() as session:
            rows = await session.walk_columns(COLUMNS)
            assert sorted(rows) == [(row,) for row in range(1, 101)]
            assert len(rows[(50,)]) == 2
        assert {pdu.type for pdu in agent.asked} == {PduType.GET_BULK}


@pytest.mark.asyncio
async def test_rows_below_an_index() -> None:
    values = {(*TABLE, 1, vm, disk): integer(vm) for vm in (1, 2, 12) for disk in (1, 2, 3)}
    async with Agent(values) as agent, manager(agent.port).session() as session:
        assert sorted(await session.walk_columns(COLUMNS[:1], (1,))) == [(1, 1), (1, 2), (1, 3)]
        assert await session.walk_columns(COLUMNS[:1], (3,)) == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("largest", [1200, 400, 160])
async def test_too_big_is_asked_for_in_pieces(largest: int) -> None:
    async with Agent(table(30, size=60)) as agent:
        agent.largest = largest
        async with manager(agent.port).session() as session:
            rows = await session.walk_columns(COLUMNS)
            assert all(len(row) == 3 for row in rows.values())
            assert len(rows) == 30
            names = [(*TABLE, 1, row) for row in range(1, 31)]
            assert len(await session.get(names)) == 30


@pytest.mark.asyncio
async def test_too_big_for_one_value_is_an_error() -> None:
    async with Agent(table(3, size=600)) as agent:
        agent.largest = 300
        async with manager(agent.port).session() as session:
            with pytest.raises(GarbageError, match="tooBig"):
                await session.walk_columns(COLUMNS)


@pytest.mark.asyncio
async def test_walks_that_do_not_end() -> None:
    content = table(500)
    async with Agent(content) as agent, manager(agent.port).session() as session:
        with pytest.raises(GarbageError, match="more than 99 rows"):
            await session.walk_columns(COLUMNS, limit=99)
        agent.endless = COLUMNS[0]
        with pytest.raises(GarbageError, match="does not go forward"):
            await session.walk_columns(COLUMNS)


@pytest.mark.asyncio
async def test_missing_instances_are_values() -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent, manager(agent.port).session() as session:
        found = await session.get([SYS_UP_TIME, (*SYS_UP_TIME, 1)])
        assert found[SYS_UP_TIME].number == 1
        assert found[(*SYS_UP_TIME, 1)].missing
        assert found[(*SYS_UP_TIME, 1)].tag is Tag.NO_SUCH_INSTANCE
        assert found[(*SYS_UP_TIME, 1)].number is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "error", "line"),
    [
        (16, DeniedError, "authorizationError"),
        (13, GarbageError, "resourceUnavailable"),
        (99, GarbageError, "error-status 99"),
    ],
)
async def test_error_status(status: int, error: type[SourceError], line: str) -> None:
    async with Agent({}) as agent, manager(agent.port).session() as session:
        agent.status = status
        with pytest.raises(error, match=line):
            await session.get([SYS_UP_TIME])
        with pytest.raises(error, match=line):
            await session.walk_columns(COLUMNS)


@pytest.mark.asyncio
async def test_one_broken_instance_does_not_hide_the_others() -> None:
    async with Agent({}) as agent, manager(agent.port).session() as session:
        agent.status = 5  # genErr at the first of the names, every time
        found = await session.get([SYS_UP_TIME, (*SYS_UP_TIME, 1)])
        assert all(value.missing for value in found.values())


@pytest.mark.asyncio
async def test_garbage_is_told_from_silence() -> None:
    async with Agent({}) as agent, manager(agent.port, timeout=0.2).session() as session:
        agent.mangle = lambda whole: os.urandom(3) + whole[:20]
        with pytest.raises(GarbageError, match="cannot be read"):
            await session.get([SYS_UP_TIME])
        agent.silent = True
        with pytest.raises(SlowError, match=r"no answer within 0\.2 s"):
            await session.get([SYS_UP_TIME])


@pytest.mark.asyncio
async def test_silence_is_told_from_an_agent_that_stops_answering() -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent:
        async with manager(agent.port, timeout=0.2).session() as session:
            await session.get([SYS_UP_TIME])
            agent.silent = True
            with pytest.raises(SlowError) as caught:
                await session.get([SYS_UP_TIME])
            assert not isinstance(caught.value, SilenceError)
        async with manager(agent.port, timeout=0.2).session() as session:
            with pytest.raises(SilenceError, match="community is wrong"):
                await session.get([SYS_UP_TIME])


@pytest.mark.asyncio
async def test_a_lost_request_is_repeated_and_a_stray_answer_ignored() -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent:
        lost = iter((b"",))
        agent.mangle = lambda whole: next(lost, whole)
        async with manager(agent.port).session() as session:
            assert (await session.get([SYS_UP_TIME]))[SYS_UP_TIME].number == 1
        assert len(agent.asked) == 2


@pytest.mark.asyncio
async def test_an_answer_counts_though_the_loop_was_busy() -> None:
    """The time is over when we look, but the answer lies in the socket."""
    values = {SYS_UP_TIME: integer(1)}
    async with Agent(values) as agent, manager(agent.port, timeout=0.2).session() as session:
        task = asyncio.create_task(session.get([SYS_UP_TIME]))
        async with asyncio.timeout(5):
            while not agent.asked:
                await asyncio.sleep(0)
        time.sleep(0.4)  # nothing else runs meanwhile
        assert (await task)[SYS_UP_TIME].number == 1


@pytest.mark.asyncio
async def test_a_port_where_nobody_listens() -> None:
    async with manager(free_port(), timeout=5).session() as session:
        with pytest.raises(DownError, match="refused"):
            await session.get([SYS_UP_TIME])


@pytest.mark.asyncio
async def test_a_name_that_does_not_exist() -> None:
    settings = ManagerSettings("no-such-host.invalid", 161, PUBLIC, timeout=5)
    with pytest.raises(UnresolvedError, match=r"no-such-host\.invalid"):
        async with Manager(settings).session():
            pass


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.asyncio
async def test_sessions_leave_no_sockets() -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent:
        one = manager(agent.port)
        async with one.session() as session:
            await session.get([SYS_UP_TIME])
        await asyncio.sleep(0)
        before = open_files()
        for _ in range(30):
            async with one.session() as session:
                await session.get([SYS_UP_TIME])
        for _ in range(5):
            await asyncio.sleep(0)
        assert open_files() <= before


# SNMPv3 with snmpd

AUTHENTICATE, ENCRYPT, WRONG = "authenticate", "encrypt-this", "not-this-one"
LEVELS = list(itertools.product(AUTH_PROTOCOLS, ("", *PRIV_PROTOCOLS)))
SNMPD_NAMES = {"AES-192": "AES192", "AES-256": "AES256"} | {
    "AES-192-C": "AES192C",
    "AES-256-C": "AES256C",
}


def user_name(auth: str, priv: str) -> str:
    return f"u-{auth}-{priv}"


@pytest.fixture(scope="module")
def snmpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    lines = []
    for auth, priv in LEVELS:
        name = user_name(auth, priv)
        secret = f" {SNMPD_NAMES.get(priv, priv)} {ENCRYPT}" if priv else ""
        lines += [f"createUser {name} {auth} {AUTHENTICATE}{secret}", f"group usmgroup usm {name}"]
    lines += ["createUser stranger SHA " + AUTHENTICATE]
    with Snmpd(tmp_path_factory.mktemp("v3"), extra_conf="\n".join(lines)) as running:
        yield running


def of_user(auth: str = "SHA", priv: str = "AES", **more: str) -> SnmpCredentials:
    given = {
        "user": user_name(auth, priv),
        "auth_protocol": auth,
        "auth_passphrase": AUTHENTICATE,
        "priv_protocol": priv,
        "priv_passphrase": ENCRYPT if priv else "",
    }
    return SnmpCredentials(**(given | more))


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(("auth", "priv"), LEVELS)
async def test_every_protocol(snmpd: Snmpd, auth: str, priv: str) -> None:
    one = manager(snmpd.port, of_user(auth, priv), timeout=5)
    async with one.session() as session:
        found = await session.get([SYS_UP_TIME])
        assert found[SYS_UP_TIME].seconds is not None
        assert len(await session.walk_columns([(1, 3, 6, 1, 2, 1, 1, 9, 1, 3)])) > 3


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("credentials", "line"),
    [
        (of_user(user="nobody"), "knows no user nobody"),
        (of_user(auth_passphrase=WRONG), "wrong auth_passphrase"),
        (of_user(auth_protocol="MD5"), "wrong auth_passphrase or auth_protocol"),
        (of_user(priv_passphrase=WRONG), "wrong priv_passphrase"),
        (of_user(priv_protocol="DES"), "wrong priv_passphrase, priv_protocol or context"),
        (of_user(user=user_name("SHA", "")), "with authPriv"),
        (
            SnmpCredentials(user="stranger", auth_protocol="SHA", auth_passphrase=AUTHENTICATE),
            "may not read this",
        ),
    ],
)
async def test_refusals_name_the_remedy(
    snmpd: Snmpd, credentials: SnmpCredentials, line: str
) -> None:
    async with manager(snmpd.port, credentials, timeout=1).session() as session:
        with pytest.raises(DeniedError) as caught:
            await session.get([SYS_UP_TIME])
    assert line in str(caught.value)
    assert WRONG not in str(caught.value)


FIXED = "exactEngineID 0x8000000201098403"


@needs_netsnmp
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{FIXED}\nengineBoots 5", f"{FIXED}\nengineBoots 6"),
        (f"{FIXED}\nengineBoots 5", f"{FIXED}\nengineBoots 2"),
        (FIXED, "exactEngineID 0x8000000201098404"),
        ("", ""),  # snmpd makes one with each start
    ],
)
async def test_an_agent_that_was_started_again_or_anew(
    tmp_path: Path, before: str, after: str
) -> None:
    user = "createUser triage SHA authenticate AES encrypt-this\n"
    snmpd = Snmpd(tmp_path, extra_conf=f"{user}group usmgroup usm triage\n{before}\n")
    await asyncio.to_thread(snmpd.start)
    try:
        one = manager(snmpd.port, of_user(user="triage"), timeout=5)
        async with one.session() as session:
            await session.get([SYS_UP_TIME])
            await asyncio.to_thread(snmpd.stop)
            snmpd.conf.write_text(snmpd.conf.read_text().replace(before or "\0", after))
            await asyncio.to_thread(snmpd.start)
            assert (await session.get([SYS_UP_TIME]))[SYS_UP_TIME].seconds is not None
        async with one.session() as session:
            assert (await session.get([SYS_UP_TIME]))[SYS_UP_TIME].seconds is not None
    finally:
        await asyncio.to_thread(snmpd.stop)


@pytest.mark.asyncio
async def test_one_user_name_with_two_passphrases_takes_two_engines() -> None:
    engines = Engines()
    first = of_user(user="triage")
    second = of_user(user="triage", auth_passphrase=WRONG)
    assert engines.get(first) is engines.get(replace(first, context="esx1"))
    assert engines.get(first) is engines.get(PUBLIC)
    assert engines.get(first) is not engines.get(second)
    assert engines.get(SnmpCredentials(community="other")) is engines.get(PUBLIC)


@needs_netsnmp
@pytest.mark.asyncio
async def test_a_worn_engine_is_replaced_and_its_sessions_go_on(
    snmpd: Snmpd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_MESSAGES", 3)
    one = manager(snmpd.port, of_user(), timeout=5)
    before = one.engines.get(of_user())
    async with one.session() as session:
        for _ in range(3):
            await session.get([SYS_UP_TIME])
        assert before.worn
        async with one.session() as another:
            await asyncio.gather(session.get([SYS_UP_TIME]), another.get([SYS_UP_TIME]))
    assert one.engines.get(of_user()) is not before
    assert before not in one.engines._engines


@pytest.mark.asyncio
async def test_dead_agents_do_not_hold_up_the_others() -> None:
    """More silent ones than requests are let out at once: the live one is asked all the same."""
    engines = Engines()

    async def ask(port: int) -> object:
        settings = ManagerSettings("127.0.0.1", port, PUBLIC, timeout=20.0)
        async with Manager(settings, engines).session() as session:
            return await session.get([SYS_UP_TIME])

    async with Agent({SYS_UP_TIME: integer(1)}) as live, Agent({}) as dead:
        dead.silent = True
        waiting = [asyncio.create_task(ask(dead.port)) for _ in range(3 * engine_module.AT_ONCE)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(ask(live.port), 10)
            assert not any(task.done() for task in waiting)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.asyncio
async def test_nothing_is_kept_of_requests_that_were_given_up() -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent:
        one = manager(agent.port, timeout=0.02)
        engine = one.engines.get(PUBLIC)
        async with one.session() as session:
            await session.get([SYS_UP_TIME])
        before = _kept(engine)
        agent.silent = True
        for _ in range(5):
            async with one.session() as session:
                with pytest.raises(SilenceError):
                    await session.get([SYS_UP_TIME])
        assert _kept(engine) == before


def _kept(engine: Engine) -> int:
    """How many things pysnmp's caches hold."""
    dispatcher = engine._snmp.message_dispatcher
    model = engine._snmp.message_processing_subsystems[1]
    waiting = dispatcher._MsgAndPduDispatcher__cache._Cache__cacheRepository
    return len(waiting) + len(model._cache._Cache__msgIdIndex)


@pytest.mark.asyncio
async def test_the_wall_clock_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Agent({SYS_UP_TIME: integer(1)}) as agent:
        one = manager(agent.port, timeout=0.2)
        async with one.session() as session:
            await session.get([SYS_UP_TIME])
            monkeypatch.setattr(time, "time", lambda: 1.0)
            await session.get([SYS_UP_TIME])
            agent.silent = True
            with pytest.raises(SlowError, match="though it answered before"):
                await session.get([SYS_UP_TIME])


def test_names_that_are_not_ascii_are_sent_as_utf_8() -> None:
    sent: list[bytes] = []
    engine = Engine()
    word = SnmpCredentials(community="gröt\u4e2d")
    phrase = 8 * "ö\u4e2d"
    user = SnmpCredentials(user="ü\u4e2d", auth_protocol="SHA", auth_passphrase=phrase)
    for credentials in (word, user):
        engine.add(credentials)
        engine.send(credentials, "", get_request([SYS_UP_TIME]), Peer(("a",), sent.append), print)
    assert word.community.encode() in sent[0]
