"""A model's file (JSON) and the file of an operator's edits (YAML).

Rules
- A model is written beside its place, synced and moved there: whoever reads, reads a whole one.
- A file that cannot be used is refused with one line that says why: not readable, not a model, of
  a later format, damaged (a template's id is not that of its text, an edit leads nowhere).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import yaml

from triage.syslog.tables import content_id, id_text
from triage.syslog.templates.mining import MinerSettings
from triage.syslog.templates.model import (
    Change,
    Edits,
    Entry,
    Merge,
    ModelError,
    TemplateModel,
)

FORMAT = "triage-syslog-templates/"
NUMBER = 1


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    frozen: bool
    settings: MinerSettings
    templates: list[Entry]
    splits: dict[int, tuple[int, ...]]
    aliases: dict[int, int]
    history: list[Change]


class _Format(msgspec.Struct):
    format: str


def save_model(model: TemplateModel, path: Path) -> None:
    """Write a model to a file, whole or not at all. OSError as of any file."""
    data = msgspec.json.encode(
        _File(
            format=f"{FORMAT}{NUMBER}",
            version=model.version,
            frozen=model.frozen,
            settings=model.settings,
            templates=[entry for _, entry in sorted(model.entries.items())],
            splits=dict(sorted(model.splits.items())),
            aliases=dict(sorted(model.aliases.items())),
            history=list(model.history),
        )
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_model(path: Path) -> TemplateModel:
    """Read a model from a file. ModelError, in one line, where it cannot be used."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    try:
        named = msgspec.json.decode(data, type=_Format).format
        kind, _, number = named.rpartition("/")
        if f"{kind}/" != FORMAT or not number.isdecimal():
            raise ModelError(f"{path} is not a file of log templates")
        if int(number) > NUMBER:
            raise ModelError(
                f"{path} is of format {number}, of a later release: this one reads {NUMBER}"
            )
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a whole file of log templates: {error}") from None
    _check(file, path)
    return TemplateModel(
        version=file.version,
        frozen=file.frozen,
        entries={entry.template.id: entry for entry in file.templates},
        splits=file.splits,
        aliases=file.aliases,
        history=tuple(file.history),
        settings=file.settings,
    )


def _check(file: _File, path: Path) -> None:
    ids = {entry.template.id for entry in file.templates}
    for entry in file.templates:
        template = entry.template
        if content_id(template.text) != template.id:
            raise ModelError(f"{path} is damaged: {id_text(template.id)} is not its text's id")
    used = {*file.splits, *file.aliases, *file.aliases.values()}
    used.update(*file.splits.values())
    for number in sorted(used - ids):
        raise ModelError(f"{path} is damaged: an edit names {id_text(number)}, which it has not")


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    into: list[str]


class _Merge(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str]
    into: str = ""


class _Edits(msgspec.Struct, forbid_unknown_fields=True):
    split: list[_Split] = []
    merge: list[_Merge] = []
    rename: dict[str, str] = {}


def read_edits(path: Path) -> Edits:
    """Read an operator's edits. ModelError, in one line, where they cannot be used.

    docs/syslog-templates.md shows the format.
    """
    try:
        # Everything is a string to this loader: 123456789012 is an id, not a number.
        loaded = yaml.load(path.read_bytes(), Loader=yaml.BaseLoader)  # noqa: S506
        edits = msgspec.convert(loaded or {}, type=_Edits)
        return Edits(
            split={_id(split.id): tuple(split.into) for split in edits.split},
            merge=tuple(_merge(merge) for merge in edits.merge),
            rename={_id(number): name for number, name in edits.rename.items()},
            source=path.name,
        )
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ModelError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except (msgspec.ValidationError, ModelError) as error:
        raise ModelError(f"{path}: {error}") from None


def _merge(merge: _Merge) -> Merge:
    ids = tuple(_id(number) for number in merge.ids)
    if len({*merge.ids, merge.into} - {""}) < 2:
        raise ModelError("merge: it takes two ids")
    return Merge(ids=ids, into=_id(merge.into) if merge.into else ids[0])


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9a-f]{12}", text):
        raise ModelError(f"{text!r} is not a template's id: that is 12 hexadecimal digits")
    return int(text, 16)
