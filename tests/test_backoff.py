import random

from hypothesis import given
from hypothesis import strategies as st

from vmmib.backoff import FIRST, LONGEST, Backoff


@given(st.integers(), st.integers(0, 10**4))
def test_waits_are_bounded_and_grow(seed: int, tries: int) -> None:
    backoff = Backoff(random.Random(seed))
    assert 0.1 < backoff.wait() <= FIRST
    backoff.attempt = tries
    assert LONGEST / 2 <= Backoff.wait(backoff) <= LONGEST or tries < 4
    backoff.reset()
    assert backoff.wait() <= FIRST


def test_two_agents_do_not_come_back_together() -> None:
    waits = {Backoff(random.Random(seed)).wait() for seed in range(20)}
    assert len(waits) == 20
