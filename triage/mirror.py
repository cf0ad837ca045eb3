"""Sections of the configuration made of the settings of a part.

A part's settings are a frozen dataclass with plain values, documented where they are used. Its
section has the same keys, checked as strictly as every other one, and `built` gives the settings
back. So a setting is written down once.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import Field, create_model

from vmmib.configfile import FilePath, Seconds, Section

T = TypeVar("T")

NonNegative = Annotated[Seconds, Field(ge=0, le=366 * 86400)]


def section_of(
    settings: type, *, name_: str, without: tuple[str, ...] = (), **replaced: Any
) -> type[Section]:
    """Return a section with the keys of a settings dataclass.

    float means seconds, a key that ends in `_file` is a path, enums are given by their values.
    `without` leaves keys out; `replaced` gives another type, or (type, default), to a key.
    """
    hints = get_type_hints(settings)
    keys: dict[str, Any] = {}
    for one in fields(settings):
        if one.name in without:
            continue
        kind, default = _kind(one.name, hints[one.name]), _default(one)
        given = replaced.get(one.name)
        if given is not None:
            kind, default = given if isinstance(given, tuple) else (given, default)
        keys[one.name] = (kind, default)
    return create_model(name_, __base__=Section, __doc__=settings.__doc__, **keys)


def _kind(name: str, hint: Any) -> Any:
    if hint is float:
        return NonNegative
    if hint == (float | None):
        return NonNegative | None
    if name.endswith("_file") and hint is str:
        return FilePath | None
    if isinstance(hint, type) and issubclass(hint, Enum):
        return Annotated[hint, Field(strict=False)]
    if str(hint).startswith("tuple["):
        return Annotated[hint, Field(strict=False)]
    if isinstance(hint, type) and is_dataclass(hint):
        return section_of(hint, name_=hint.__name__)
    return hint


def _default(one: Any) -> Any:
    if one.name.endswith("_file") and one.default == "":
        return None
    if one.default is not MISSING:
        if is_dataclass(one.default):
            return section_of(type(one.default), name_=type(one.default).__name__)()
        return one.default
    if one.default_factory is not MISSING:
        return Field(default_factory=one.default_factory)
    return ...


def built(section: Section, settings: type[T], **more: Any) -> T:
    """Return the settings that a section holds; `more` are keys that it has not."""
    hints = get_type_hints(settings)
    known = {one.name for one in fields(settings)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key in type(section).model_fields:
        if key not in known:
            continue
        value = getattr(section, key)
        if isinstance(value, Path):
            value = str(value)
        elif value is None and hints[key] is str:
            value = ""
        elif isinstance(value, Section) and is_dataclass(hints[key]):
            value = built(value, hints[key])
        values[key] = value
    return settings(**(values | more))
