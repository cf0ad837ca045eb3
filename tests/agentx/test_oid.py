import pytest
from hypothesis import given

from tests.agentx.strategies import oids
from vmmib.agentx import oid


@given(oids.filter(bool))
def test_text_round_trip(one: oid.Oid) -> None:
    assert oid.parse(oid.to_text(one)) == one
    assert oid.parse(" ." + oid.to_text(one)) == one


@given(oids)
def test_key_round_trip(one: oid.Oid) -> None:
    assert oid.from_key(oid.key(one)) == one


@given(oids, oids)
def test_keys_sort_as_oids_do(one: oid.Oid, other: oid.Oid) -> None:
    assert (oid.key(one) < oid.key(other)) == (one < other)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1..3", "1.3.", "sysDescr.0", "1.-3", "1.3 .6", "1.4294967296", "1." + "9" * 5000,
     ".".join(["1"] * 129), "1.\u0663"],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="OID") as caught:
        oid.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_bounds_of_keys() -> None:
    assert oid.key((4294967295,)) == b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="sub-identifiers"):
        oid.key((4294967296,))
    with pytest.raises(ValueError, match="whole"):
        oid.from_key(b"\0\0\0\1\0")
