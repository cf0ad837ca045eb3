"""Any evidence at all, by hypothesis: every field of every dataclass, whatever it is."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from triage import evidence

_SCALARS: dict[type, Callable[[], st.SearchStrategy[Any]]] = {
    str: lambda: st.text(max_size=12),
    int: lambda: st.integers(-(2**63), 2**63 - 1),
    float: st.floats,
    bool: st.booleans,
}


@functools.cache
def of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a type of `triage.evidence`."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]()
    if kind is type(None):
        return st.none()
    if isinstance(origin, type) and issubclass(origin, tuple):
        return st.lists(of(inside[0]), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, dict):
        keys = st.text(max_size=8) | st.sampled_from(["$float", "$$float", "float"])
        values = of(inside[1])
        if inside[1] is str:
            values |= st.sampled_from(["nan", "inf", "-inf"])
        return st.dictionaries(keys, values, max_size=2)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of(one) for one in inside])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    assert isinstance(kind, type)
    assert dataclasses.is_dataclass(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(
        kind, **{field.name: of(hints[field.name]) for field in dataclasses.fields(kind)}
    )


def _with(name: str, value: Any) -> evidence.Evidence:
    return dataclasses.replace(PLAIN, **{name: value})


PLAIN = evidence.Evidence(
    target=evidence.Target(name="x"),
    anomaly=evidence.Anomaly(target="x", trigger=evidence.Trigger.MANUAL, time=0.0),
    decided_at=0.0,
)
_HINTS = typing.get_type_hints(evidence.Evidence)
EVIDENCE: st.SearchStrategy[evidence.Evidence] = st.one_of(
    [
        of(_HINTS[field.name]).map(functools.partial(_with, field.name))
        for field in dataclasses.fields(evidence.Evidence)
    ]
)
"""One part of it is anything, the rest is plain: all at once would take minutes to draw."""
VERDICT: st.SearchStrategy[evidence.Verdict] = of(evidence.Verdict)
