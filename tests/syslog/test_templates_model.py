"""The model: ids for ever, order and partitions, frozen, edited, saved."""

import json
import os
import pickle
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.syslog.tables import Variable, content_id, id_text
from triage.syslog.templates import (
    Edits,
    Merge,
    MinerSettings,
    ModelError,
    TemplateModel,
    key_of,
    load_model,
    read_edits,
    save_model,
)

USERS = ["ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "leo"]


UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def keyed(contents: list[str]) -> list[str]:
    frame = pl.DataFrame({"content": contents}, schema={"content": pl.String})
    return frame.select(key_of(pl.col("content")))["content"].to_list()


def learnt(contents: list[str], model: TemplateModel | None = None) -> TemplateModel:
    return (model or TemplateModel()).learn(keyed(contents), [1] * len(contents), contents)


def ids(model: TemplateModel, contents: list[str]) -> list[int]:
    return model.assign(keyed(contents)).tolist()


def texts(model: TemplateModel) -> set[str]:
    return {template.text for template in model.templates}


SESSIONS = [f"su[{n}]: session opened for user {user} by (uid={n})" for n, user in enumerate(USERS)]


# What is a template


def test_words_that_name_things_vary_and_words_of_state_do_not() -> None:
    states = [f"kernel: eth{n}: link {state}" for n in range(3) for state in ("up", "down")]
    assert texts(learnt(SESSIONS + states)) == {
        "su[**]: session opened for user ** by (uid=**)",
        "kernel: **: link up",
        "kernel: **: link down",
    }


def test_what_is_started_and_stopped_is_a_thing() -> None:
    names = ["Login Service", "Network Time", "Mail Agent", "Disk Cache", "Job Queue"]
    lines = [f"systemd[1]: {word} {name}." for word in ("Started", "Stopping") for name in names]
    assert texts(learnt(lines)) == {"systemd[**]: Started ** **", "systemd[**]: Stopping ** **"}


def test_many_places_that_are_spelt_like_values_vary_at_once() -> None:
    lines = ["md: moved sda to sdb of sdc", "md: moved sdd to sde of sdf"]
    assert texts(learnt(lines)) == {"md: moved ** to ** of **"}


def test_errors_stay_apart() -> None:
    errors = ["Connection refused", "No route to host", "Connection timed out", "Permission denied"]
    lines = [f"ntpd[{n}]: sendto(192.0.2.{n}) {error}" for n in range(9) for error in errors]
    assert len(texts(learnt(lines))) == len(errors)


def test_two_words_that_vary_together_are_found() -> None:
    rng = random.Random(4)
    hosts = [f"{name}.example.org" for name in ("alpha", "beta", "gamma", "delta", "omega")]
    lines = [
        f"sshd[1]: Accepted key of user {user} on {rng.choice(hosts)} for login" for user in USERS
    ]
    assert texts(learnt(lines)) == {"sshd[**]: Accepted key of user ** on ** for login"}


def test_lists_of_any_length_are_one_template() -> None:
    lines = [
        "mon[7]: members 10.0.0.1",
        "mon[7]: members 10.0.0.1, 10.0.0.2",
        "mon[7]: members 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4",
    ]
    model = learnt(lines[:1])
    assert len(model.templates) == 1
    assert len(set(ids(model, lines))) == 1
    assert ids(model, lines)[0] != 0


def test_free_text_of_any_length_is_one_template() -> None:
    rng = random.Random(3)
    words = "amber birch cedar delta ember fjord grove heath islet jetty knoll ledge".split()  # noqa: SIM905
    lines = [
        f"job[{n}]: task queue flushed note [{' '.join(rng.choices(words, k=n % 5 + 1))}] code {n}"
        for n in range(60)
    ]
    model = learnt(lines)
    assert texts(model) == {"job[**]: task queue flushed note [** **] code **"}
    later = ["job[1]: task queue flushed note [wholly new words and many more of them] code 3"]
    assert ids(model, later) == [content_id("job[**]: task queue flushed note [** **] code **")]


def test_different_messages_of_a_program_are_not_its_free_text() -> None:
    verbs = "probes scans polls drops keeps sends moves turns holds binds parses maps".split()  # noqa: SIM905
    things = "bridge tunnel lease route cache ring queue mutex timer fence socket volume".split()  # noqa: SIM905
    lines = [
        f"agent[1]: warning: {a} {b} {' '.join(things[: n % 4])}"
        for n, (a, b) in enumerate(zip(verbs, things, strict=True))
    ]
    assert len(texts(learnt(lines))) == len(lines)


def test_a_frequent_command_stays_a_template_of_its_own() -> None:
    rng = random.Random(5)
    flags = ["-a", "-b", "--all", "--keep", "-v"]
    rare = [
        f"CRON[1]: (root) CMD (/usr/bin/tool-{name} {' '.join(rng.sample(flags, n % 4))})"
        for n, name in enumerate("abcdefghijklmnopqrst")
    ]
    often = "CRON[1]: (root) CMD (cd / && run-parts --report)"
    keys = keyed([*rare, often])
    model = TemplateModel().learn(keys, [1] * len(rare) + [500], [*rare, often])
    assert len({*ids(model, rare)}) == 1
    assert ids(model, [often])[0] not in ids(model, rare)


def test_variables_are_typed() -> None:
    lines = [
        f"a[{n}]: from {ip} port 2{n} user {user} file /etc/x{n} id {UUID[:-1]}{n} mask 0xff0{n}"
        f" mac 52:54:00:ab:cd:e{n} host hv{n}.example.org and vm{n}"
        for n, (ip, user) in enumerate(
            [("192.0.2.1", "ann"), ("fe80::7:1", "b7"), ("fd00:1::9", "cyd")]
        )
    ]
    [template] = learnt(lines).templates
    v = Variable
    assert template.text == (
        "a[**]: from ** port ** user ** file ** id ** mask ** mac ** host ** and **"
    )
    assert template.variables == (
        v.NUMBER, v.IP, v.NUMBER, v.USER, v.PATH, v.UUID, v.HEX, v.HEX, v.HOST, v.ANY,
    )  # fmt: skip
    assert template.example == min(lines)


# Ids


_COMMON = (
    "up down user ann bob eth0 = ( ) [ ] : , /a/b 1.2.3.4 from a.example.org Mon KB ** ' x1,x2"
)
VOCABULARY = st.sampled_from(_COMMON.split())
CONTENTS = st.lists(
    st.lists(VOCABULARY, max_size=9).map(" ".join) | st.text(max_size=20), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(CONTENTS, st.randoms(use_true_random=False))
def test_every_key_learnt_has_its_template_and_keeps_it(
    contents: list[str], rng: random.Random
) -> None:
    keys = keyed(contents)
    model = TemplateModel().learn(keys, [1] * len(keys), contents)
    found = model.assign(keys).tolist()
    assert 0 not in found
    shuffled = list(zip(keys, contents, strict=True))
    rng.shuffle(shuffled)
    other = TemplateModel().learn(
        [key for key, _ in shuffled], [1] * len(keys), [content for _, content in shuffled]
    )
    assert other == model
    later = learnt([f"{content} and more" for content in contents] + SESSIONS, model)
    assert later.assign(keys).tolist() == found
    assert set(model.entries) <= set(later.entries)
    assert pickle.loads(pickle.dumps(later)).assign(keys).tolist() == found  # noqa: S301


def test_partitions_do_not_matter() -> None:
    contents = SESSIONS * 3
    keys = keyed(contents)
    whole = TemplateModel().learn(keys, [1] * len(keys), contents)
    halves = TemplateModel().learn(keys[:12], [3] * 12, contents[:12])
    assert whole == halves


def test_an_id_is_that_of_the_text_and_a_text_never_changes() -> None:
    first = learnt(SESSIONS[:1])
    [old] = first.templates
    assert old.id == content_id(old.text)
    second = learnt(SESSIONS, first)
    assert old in second.templates
    assert ids(second, SESSIONS[:1]) == [old.id]
    assert texts(second) - {old.text} == {"su[**]: session opened for user ** by (uid=**)"}
    assert second.version == 2
    assert second.ids_of_version(1) == (old.id,)


def test_old_templates_count_when_a_place_is_judged() -> None:
    model = TemplateModel()
    for line in SESSIONS[:2]:  # one at a time: nothing to compare with but what is known
        model = learnt([line], model)
    assert "su[**]: session opened for user ** by (uid=**)" in texts(model)


def test_learning_nothing_new_changes_nothing() -> None:
    model = learnt(SESSIONS)
    assert learnt(SESSIONS[3:5], model) is model
    assert learnt([], model) is model


# Bounds


def test_a_flood_falls_to_catch_alls() -> None:
    rng = random.Random(2)
    letters = "abcdefghijklmnopqrstuvwxyz"
    flood = [
        f"junk[{n}]: " + " ".join("".join(rng.choices(letters, k=7)) for _ in range(4))
        for n in range(300)
    ]
    keys = keyed(flood + SESSIONS)
    lines = [1] * len(flood) + [5] * len(SESSIONS)
    bounded = TemplateModel(settings=MinerSettings(keys=20))
    model = bounded.learn(keys, lines, flood + SESSIONS)
    assert "junk[**]: ** **" in texts(model)
    assert "su[**]: session opened for user ** by (uid=**)" in texts(model)
    assert len(model.templates) < 30
    assert 0 not in model.assign(keys)
    again = learnt(["junk[1]: quite another message, seen alone"], model)
    assert len(again.templates) == len(model.templates) + 1


def test_a_program_s_noise_makes_no_thousands_of_templates() -> None:
    noise = [f"junk[1]: {chr(97 + a)}q {chr(97 + b)}z" for a in range(9) for b in range(9)]
    keys = keyed(noise + SESSIONS)
    lines = [9, *[1] * 80, *[1] * len(SESSIONS)]
    limited = TemplateModel(settings=MinerSettings(program=3))
    model = limited.learn(keys, lines, noise + SESSIONS)
    assert {"junk[**]: ** **", "junk[**]: aq az"} < texts(model)
    assert len(model.templates) == 3 + 1 + 1
    assert 0 not in model.assign(keys)


def test_tokens_are_bounded_too() -> None:
    lines = [f"{chr(97 + n)}x " * 100 for n in range(20)]
    model = TemplateModel(settings=MinerSettings(tokens=300)).learn(keyed(lines), [1] * 20, lines)
    assert len(model.templates) == 4


def test_hostile_keys() -> None:
    hostile = ["", "\0" * 5000, "(" * 3000, "** " * 3000, "é" * 5000, "=:,;" * 900, "\x1b[31m"]
    model = learnt(hostile)
    assert 0 not in ids(model, hostile)


# Frozen


def test_a_frozen_model_learns_nothing_and_says_so() -> None:
    model = learnt(SESSIONS).with_frozen(at=5.0)
    assert model.frozen
    new = ["su[1]: something that was never seen"]
    assert learnt(new, model) is model
    assert ids(model, [*new, SESSIONS[0]]) == [0, model.templates[0].id]
    thawed = model.with_frozen(False)
    assert ids(learnt(new, thawed), new) != [0]
    assert [(change.version, change.kind) for change in thawed.history] == [
        (1, "learnt"), (2, "frozen"), (3, "thawed"),
    ]  # fmt: skip
    assert thawed.with_frozen(False) is thawed


# Edits

OPENED = "su[**]: session opened for user ** by (uid=**)"
ROOTS = "su[**]: session opened for user root by (uid=**)"
ROOT = "su[7]: session opened for user root by (uid=0)"


def test_split_merge_rename() -> None:
    closed = [line.replace("opened", "closed") for line in SESSIONS]
    model = learnt(SESSIONS + closed)
    opened, other = content_id(OPENED), content_id(OPENED.replace("opened", "closed"))

    split = model.edited(Edits(split={opened: (ROOTS,)}, source="edits.yaml"), at=9.0)
    assert ids(split, [ROOT, SESSIONS[0]]) == [content_id(ROOTS), opened]
    assert ids(model, [ROOT]) == [opened]

    merged = split.edited(Edits(merge=(Merge(ids=(opened, other), into=opened),)))
    assert ids(merged, [closed[0], SESSIONS[0], ROOT]) == [opened, opened, content_id(ROOTS)]
    assert merged.resolve(other) == opened
    assert other not in {template.id for template in merged.templates}

    named = merged.edited(Edits(rename={opened: "a session"}))
    template = named.template(other)
    assert template is not None
    assert (template.name, template.text, template.id) == ("a session", OPENED, opened)
    assert [change.version for change in named.history] == [1, 2, 3, 4]
    assert named.history[1].templates == (content_id(ROOTS),)
    assert named.history[1].source == "edits.yaml"
    assert named.edited(Edits(rename={opened: "a session"})) is named
    assert ids(learnt(SESSIONS, named), [ROOT]) == [content_id(ROOTS)]


def test_merging_a_part_back_undoes_its_split() -> None:
    opened, root = content_id(OPENED), content_id(ROOTS)
    model = learnt(SESSIONS).edited(Edits(split={opened: (ROOTS,)}))
    model = model.edited(Edits(merge=(Merge(ids=(root,), into=opened),)))
    assert ids(model, [ROOT]) == [opened]


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (Edits(split={1: ("a",)}), "split: no template has the id 000000000001"),
        (Edits(merge=(Merge(ids=(1, 2), into=1),)), "merge: no template"),
        (Edits(rename={1: "x"}), "rename: no template"),
        (Edits(split={content_id(OPENED): ("** **",)}), "no constant word"),
        (Edits(split={content_id(OPENED): (OPENED,)}), "is that template itself"),
    ],
)
def test_edits_that_cannot_be_made(edits: Edits, said: str) -> None:
    model = learnt(SESSIONS)
    with pytest.raises(ModelError, match=said) as error:
        model.edited(edits)
    assert "\n" not in str(error.value)


def test_merges_that_cross_end() -> None:
    other = OPENED.replace("opened", "closed")
    model = learnt(SESSIONS + [line.replace("opened", "closed") for line in SESSIONS])
    one, two = content_id(OPENED), content_id(other)
    model = model.edited(Edits(merge=(Merge(ids=(one,), into=two),)))
    model = model.edited(Edits(merge=(Merge(ids=(two,), into=one),)))
    assert {*ids(model, SESSIONS)} == {one}
    assert [template.id for template in model.templates] == [one]


def test_reads_edits(tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(
        "split:\n- id: 0123456789ab\n  into: ['a ** b', c]\n"
        "merge:\n- ids: [000000000001, 000000000012]\n"
        "- ids: [000000000003]\n  into: 123456789012\n"
        "rename:\n  00000000000a: a name\n"
    )
    assert read_edits(path) == Edits(
        split={0x0123456789AB: ("a ** b", "c")},
        merge=(Merge(ids=(1, 0x12), into=1), Merge(ids=(3,), into=0x123456789012)),
        rename={10: "a name"},
        source="edits.yaml",
    )
    path.write_text("")
    assert read_edits(path) == Edits(source="edits.yaml")


@pytest.mark.parametrize(
    "text",
    ["a: [", "splt: []", "rename: {12: x}", "merge: [{ids: [000000000001]}]", "- a", "rename: 3"],
)
def test_edits_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"edits\.yaml") as error:
        read_edits(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="No such file"):
        read_edits(tmp_path / "none.yaml")


# Files


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    opened = content_id(OPENED)
    model = learnt([*SESSIONS, "", "b 1"])
    model = model.edited(Edits(split={opened: (ROOTS,)}, rename={opened: "a \u2028 b"}))
    path = tmp_path / "model.json"
    save_model(TemplateModel(), path)
    save_model(model, path)
    assert load_model(path) == model
    assert ids(load_model(path), [ROOT, "", *SESSIONS]) == ids(model, [ROOT, "", *SESSIONS])
    assert [found.name for found in tmp_path.iterdir()] == ["model.json"]


def test_a_failed_save_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.json"
    save_model(learnt(SESSIONS), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(TemplateModel(), path)
    monkeypatch.undo()
    assert load_model(path) == learnt(SESSIONS)
    assert [found.name for found in tmp_path.iterdir()] == ["model.json"]


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    save_model(learnt(SESSIONS).edited(Edits(rename={content_id(OPENED): "n"})), path)
    good = json.loads(path.read_bytes())
    text = path.read_bytes()
    damaged = json.loads(text)
    damaged["templates"][0]["template"]["text"] += "!"
    lost = json.loads(text) | {"aliases": {"5": content_id(OPENED)}}
    for data, said in [
        (b"", "not a whole file"),
        (text[:-20], "not a whole file"),
        (b"\xff\xfe\0", "not a whole file"),
        (b'{"format": "other/1"}', "not a file of log templates"),
        (json.dumps(good | {"format": "triage-syslog-templates/9"}).encode(), "later release"),
        (json.dumps(good | {"more": 1}).encode(), "not a whole file"),
        (json.dumps(damaged).encode(), "damaged"),
        (json.dumps(lost).encode(), f"damaged: an edit names {id_text(5)}"),
    ]:
        path.write_bytes(data)
        with pytest.raises(ModelError, match=said) as error:
            load_model(path)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="No such file"):
        load_model(tmp_path / "none")
