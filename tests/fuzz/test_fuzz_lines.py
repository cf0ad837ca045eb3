from tests.fuzz.fuzz_lines import check, fuzz, seeds


def test_seeds_are_no_findings() -> None:
    for data in seeds():
        check(data)


def test_a_moment_of_fuzzing() -> None:
    assert fuzz(1.0, seed=7666) == 0
