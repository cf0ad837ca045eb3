"""`triage syslog model ...`: the templates' own life."""

# ruff: noqa: PLC0415 (imports inside of functions: `triage --help` loads no Polars)

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.syslog.cli import options
from triage.syslog.cli.commands import syslog

if TYPE_CHECKING:
    from triage.syslog.store import Store
    from triage.syslog.templates import TemplateModel

_store = click.option(
    "--store",
    "folder",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="The store (`triage syslog mine` tells where it is).",
)


@syslog.group()
def model() -> None:
    """Freeze, thaw or edit a store's templates; see their versions."""


@model.command()
@_store
def freeze(folder: Path) -> None:
    """Learn no more: lines that fit no template are counted, and have none."""
    with options.failing():
        store = _open(folder)
        _save(store, store.model.with_frozen(True, at=time.time()))


@model.command()
@_store
def thaw(folder: Path) -> None:
    """Learn again."""
    with options.failing():
        store = _open(folder)
        _save(store, store.model.with_frozen(False, at=time.time()))


@model.command()
@_store
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def edit(folder: Path, file: Path) -> None:
    """Split, merge, rename templates as a YAML file says; events need not be read again."""
    with options.failing():
        from triage.syslog.templates.files import read_edits

        store = _open(folder)
        _save(store, store.model.edited(read_edits(file), at=time.time()))


@model.command()
@_store
@options.json_option
def history(folder: Path, as_json: bool) -> None:
    """List the versions: when, why, what was new."""
    with options.failing():
        from triage.syslog.cli.show import clock

        changes = _open(folder).model.history
        if as_json:
            options.print_json([asdict(one) for one in changes])
            return
        for one in changes:
            click.echo(
                f"{one.version:5d}  {one.kind:8}  {clock(one.at or None):20}  "
                f"{len(one.templates):,} new templates, {one.keys:,} new keys  {one.source}"
            )


@model.command()
@_store
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def export(folder: Path, file: Path) -> None:
    """Write the model to a file, to be used for other logs."""
    with options.failing():
        from triage.syslog.templates.files import save_model

        save_model(_open(folder).model, file)


@model.command(name="import")
@_store
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def import_model(folder: Path, file: Path) -> None:
    """Begin a new store with a model from a file."""
    with options.failing():
        from triage.syslog.store import open_store
        from triage.syslog.templates.files import load_model
        from vmmib.commands import Failure

        read = load_model(file)
        store = open_store(folder, create=True)
        if store.model.templates:
            raise Failure(f"{folder} has templates of its own: name a folder that is new")
        _save(store, read)


def _open(folder: Path) -> Store:
    from triage.syslog.store import open_store

    return open_store(folder)


def _save(store: Store, new: TemplateModel) -> None:
    if new is not store.model:
        store.save_model(new)
    frozen = ", frozen" if new.frozen else ""
    click.echo(f"version {new.version}{frozen}: {len(new.templates):,} templates")
