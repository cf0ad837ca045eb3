"""Groups of templates by n-grams."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.groups import GroupSettings, Measure, Unit, group_templates, ngrams
from triage.syslog.tables import Group, Template, content_id

DENIED = [
    "named[**]: client **: view world: query (cache) '**' denied",
    "named[**]: client **: query (cache) '**' denied",
    "named[**]: client **: query '**' denied",
    "named[**]: client **: view world: notify question section contains no SOA",
]
OTHERS = ["sshd[**]: client **: query (cache) '**' denied", "named[**]: zone ** loaded serial **"]


def made(texts: list[str]) -> list[Template]:
    return [Template(id=content_id(text), text=text) for text in texts]


def sets(groups: tuple[Group, ...]) -> set[frozenset[int]]:
    return {frozenset(group.templates) for group in groups}


def test_alike_texts_of_one_program_are_a_group() -> None:
    groups = group_templates(made(DENIED + OTHERS), GroupSettings())
    assert sets(groups) == {
        frozenset(map(content_id, DENIED)),
        *(frozenset([content_id(text)]) for text in OTHERS),
    }
    across = group_templates(made(DENIED + OTHERS), GroupSettings(per_program=False))
    assert frozenset(map(content_id, [*DENIED, OTHERS[0]])) in sets(across)
    [founder] = [group for group in groups if len(group.templates) > 1]
    assert founder.id == min(founder.templates)
    assert content_id(founder.label) == founder.id


def test_above_one_each_is_a_group() -> None:
    texts = made([*DENIED, DENIED[0] + " "])
    assert len(group_templates(texts, GroupSettings(threshold=1.01))) == len(texts)
    assert len(group_templates(texts, GroupSettings(threshold=1.0))) == len(texts) - 1


@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("unit", list(Unit))
def test_the_threshold_is_the_measure_s(unit: Unit, measure: Measure) -> None:
    base = GroupSettings(unit=unit, measure=measure)
    one, other = (ngrams(text.partition(": ")[2], base) for text in DENIED[:2])
    shared = len(one & other)
    exact = {
        Measure.DICE: 2 * shared / (len(one) + len(other)),
        Measure.JACCARD: shared / len(one | other),
    }[measure]
    pair = made(DENIED[:2])
    assert len(group_templates(pair, replace(base, threshold=exact - 1e-9))) == 1
    assert len(group_templates(pair, replace(base, threshold=exact + 1e-9))) == 2


def test_ngrams() -> None:
    characters, words = GroupSettings(n=3), GroupSettings(n=2, unit=Unit.WORD)
    assert ngrams("ab  cd", characters) == {"ab ", "b c", " cd"}
    assert ngrams("ab", characters) == {"ab"}
    assert ngrams("to **: x", words) == {("to", "**"), ("**", ":"), (":", "x")}
    assert ngrams("", characters) == {""}


def test_who_comes_later_joins_and_moves_nobody() -> None:
    first = group_templates(made([DENIED[0], DENIED[3], *OTHERS]), GroupSettings())
    later = group_templates(made([*DENIED, *OTHERS, "new: text"]), GroupSettings(), first)
    old = {template: group.id for group in first for template in group.templates}
    new = {template: group.id for group in later for template in group.templates}
    assert all(new[template] == group for template, group in old.items())
    assert new[content_id(DENIED[1])] == old[content_id(DENIED[0])]
    assert {group.id for group in first} < {group.id for group in later}


def test_a_group_keeps_templates_that_are_gone() -> None:
    before = (Group(id=5, templates=(5, 6), label="gone"),)
    assert group_templates([], GroupSettings(), before) == before
    assert before[0] in group_templates(made(OTHERS), GroupSettings(), before)


def test_a_name_is_the_label_and_moves_nobody() -> None:
    templates = made(DENIED)
    groups = group_templates(templates, GroupSettings())
    named = [replace(template, name="asked") for template in templates]
    assert group_templates(named, GroupSettings()) == tuple(
        replace(group, label="asked") for group in groups
    )


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=5).map(" ".join), max_size=12),
    st.sampled_from([0.2, 0.5, 0.8]),
    st.randoms(use_true_random=False),
    st.integers(0, 12),
)
def test_order_does_not_matter_and_groups_stay(
    texts: list[str], threshold: float, rng: random.Random, cut: int
) -> None:
    chosen = GroupSettings(threshold=threshold)
    templates = made(list(dict.fromkeys(texts)))
    groups = group_templates(templates, chosen)
    shuffled = rng.sample(templates, len(templates))
    assert group_templates(shuffled, chosen) == groups
    members = [template for group in groups for template in group.templates]
    assert sorted(members) == sorted(template.id for template in templates)
    part = group_templates(templates[:cut], chosen)
    whole = group_templates(shuffled, chosen, part)
    place = {template: group.id for group in whole for template in group.templates}
    assert all(place[member] == group.id for group in part for member in group.templates)
    assert group_templates(templates, chosen, whole) == whole
