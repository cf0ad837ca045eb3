from tests.fuzz.fuzz_pdu import SEEDS, check, without


def test_seeds_are_no_findings() -> None:
    for data in SEEDS:
        check(data)


def test_a_moment_of_fuzzing() -> None:
    assert without(1.0, seed=7666) == 0
