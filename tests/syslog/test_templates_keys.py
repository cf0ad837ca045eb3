"""Keys: what is masked at once, and what stays."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.syslog.templates import KEY_CHARACTERS, key_of


def keys(*contents: str | None) -> list[str | None]:
    frame = pl.DataFrame({"content": contents}, schema={"content": pl.String})
    return frame.select(key_of(pl.col("content")))["content"].to_list()


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (
            "sshd[812]: Failed password for root from 192.0.2.7 port 4022 ssh2",
            "sshd[**]: Failed password for root from ** port ** **",
        ),
        ("sshd[812]: uid=0 took 5.", "sshd[**]: uid=** took **."),
        ("kernel: [12.5] eth0: link up", "kernel: [**] **: link up"),
        ("a 2001:db8::1 b fe80:0:0:0:dead:beef:cafe:babe c", "a ** b ** c"),
        ("mac 52:54:00:ab:cd:ef at 12:04:59.250", "mac ** at **"),
        ("open /var/lib/vm12/disk.img: denied", "open **: denied"),
        ("PendingReds:0 ScheduledMaps:10", "PendingReds:** ScheduledMaps:**"),
        ("job 6ba7b810-9dad-11d1-80b4-00c04fd430c8 done", "job ** done"),
        ("no digits: g:h:i, (x) [y] 'z'", "no digits: g:h:i, (x) [y] 'z'"),
        ("", ""),
    ],
)
def test_masks(content: str, key: str) -> None:
    assert keys(content) == [key]


def test_keeps_a_digit_in_a_program_s_name_only_with_its_process_id() -> None:
    assert keys("k3s[7]: a1", "python3.11[7]: a1", "eth0: a1", "3f9ac1d2e4b5[7]: a1") == [
        "k3s[**]: **",
        "python3.11[**]: **",
        "**: **",
        "**[**]: **",
    ]


def test_nulls_stay() -> None:
    assert keys(None, "a1") == [None, "**"]


def test_bounds_a_key() -> None:
    [long, cut] = keys("x " * 500_000, "9 " * 500_000)
    assert long is not None
    assert cut is not None
    assert len(long) == len(cut) == KEY_CHARACTERS


LINES = st.text(alphabet=" abXYef019:.-_/[]()=,;#'\"*\x00é|<>", max_size=60)


@given(st.lists(st.one_of(LINES, st.text(max_size=40), LINES.map(lambda t: t * 200)), max_size=8))
def test_is_idempotent(contents: list[str]) -> None:
    once = keys(*contents)
    assert keys(*once) == once


@given(LINES)
def test_leaves_no_digit_but_in_a_program_s_name(content: str) -> None:
    [key] = keys(content)
    assert key is not None
    assert not any(char.isascii() and char.isdigit() for char in key.partition("[**]: ")[2] or key)
