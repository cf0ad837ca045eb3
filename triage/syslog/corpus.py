"""From a store to what the analysis works on: counts per minute, host and template, in memory.

Theory of operation
    Partition by partition, each event's minute, host and template are packed into one 64-bit
    number, most significant first, and equal numbers are added up. The packed numbers of all
    partitions are sorted at the end, and equal ones added up again: that is `COUNTS`. Memory
    is that of the counts, not of the events.

Rules
- Events without a template (broken lines; unknown to a frozen model) are not in a corpus.
- Only hosts and templates that have events in the span are.
- A host's site is what the operator's file says, else its domain, else "all".
"""

from __future__ import annotations

import contextlib
import fnmatch
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import yaml

from triage.syslog.errors import SyslogError
from triage.syslog.groups import GroupSettings, group_templates
from triage.syslog.store import Partition, Store, StoreError
from triage.syslog.tables import COUNTS, Corpus, Group, Template

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVERYWHERE = "all"
"""The site of a host of which nobody knows a site."""

MINUTE = 60_000
_FARTHEST = 2**31 * MINUTE
"""Milliseconds that no longer fit a minute of COUNTS (the year 6053): nobody's clock."""


class SitesError(SyslogError):
    """The operator's file of sites cannot be used; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Sites:
    """Which site a host is at."""

    rules: tuple[tuple[str, str], ...] = ()
    """(host or glob, site); names go before globs, globs in their order."""

    def of(self, host: str) -> str:
        """Return the host's site."""
        for name, site in self.rules:
            if name == host:
                return site
        for glob, site in self.rules:
            if fnmatch.fnmatchcase(host, glob):
                return site
        return _domain(host)


def _domain(host: str) -> str:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return EVERYWHERE
    return host.rstrip(".").partition(".")[2] or EVERYWHERE


def load_sites(path: Path) -> Sites:
    """Read an operator's YAML file {site: [host or glob, ...]}; raises SitesError."""
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SitesError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        shown = " ".join(str(error).split())[:160]
        raise SitesError(f"{path} is not YAML: {shown}") from None
    if not isinstance(read, dict):
        raise SitesError(f"{path} has to map each site to a list of its hosts: {{site: [host]}}")
    rules: list[tuple[str, str]] = []
    for site, names in read.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SitesError(f"{path}: {site} needs a list of hosts or globs, in quotes if need be")
        rules += [(name, str(site)) for name in names]
    seen: dict[str, str] = {}
    for name, site in rules:
        if seen.setdefault(name, site) != site:
            raise SitesError(f"{path}: {name} is at {seen[name]} and at {site}: keep one")
    return Sites(tuple(rules))


def load_corpus(
    store: Store,
    *,
    start: float | None = None,
    end: float | None = None,
    sites: Sites = Sites(),
    groups: GroupSettings = GroupSettings(),  # noqa: B008 - frozen
) -> Corpus:
    """Return the counts of a store's events in [start, end) (seconds; None: all).

    Groups join those formed before, and are kept in the store. Raises StoreError when there are no
    events in the span.
    """
    templates = tuple(sorted(store.model.templates, key=lambda one: one.id))
    span = _span(start, end)
    partitions = [one for one in store.manifest.partitions if _overlaps(one, span)]
    hosts = tuple(sorted({name for one in partitions for name in store.hosts(one)}))
    packing = _Packing.of(partitions, len(hosts), len(templates))
    ids = np.array([one.id for one in templates], np.int64)
    parts = list(_packed(store, partitions, packing, hosts, ids, span))
    times = [one for part in parts for one in (part[2], part[3])]
    if not times:
        raise StoreError(_nothing(store, start, end))
    counts = packing.unpack(*_merged([part[0] for part in parts], [part[1] for part in parts]))
    used_hosts, used = counts["host"].unique().sort(), counts["template"].unique().sort()
    counts = counts.with_columns(
        host=_renumber(used_hosts, len(hosts)).gather(counts["host"]),
        template=_renumber(used, len(templates)).gather(counts["template"]),
    )
    hosts = tuple(hosts[one] for one in used_hosts)
    formed = _groups(store, templates, groups)
    templates = tuple(templates[one] for one in used)
    return Corpus(
        counts=counts,
        hosts=hosts,
        templates=templates,
        site_of=tuple(sites.of(host) for host in hosts),
        start=min(times) / 1000,
        end=max(times) / 1000,
        **_grouped(templates, formed),
    )


# Groups


def _groups(
    store: Store, templates: Sequence[Template], settings: GroupSettings
) -> tuple[Group, ...]:
    before = store.groups(repr(settings))
    formed = group_templates(templates, settings, before)
    if formed != before:
        # Who may only read gets the same groups, made anew each time
        with contextlib.suppress(PermissionError):
            store.save_groups(repr(settings), formed)
    return formed


def _grouped(templates: Sequence[Template], formed: Sequence[Group]) -> Mapping[str, Any]:
    group_of = {template: group for group in formed for template in group.templates}
    used = sorted({group_of[one.id] for one in templates}, key=lambda group: group.id)
    place = {group.id: number for number, group in enumerate(used)}
    return {
        "groups": tuple(used),
        "group_of": tuple(place[group_of[one.id].id] for one in templates),
    }


# Counts


def _span(start: float | None, end: float | None) -> tuple[int, int]:
    low = -_FARTHEST if start is None else max(-_FARTHEST, round(start * 1000))
    high = _FARTHEST if end is None else min(_FARTHEST, round(end * 1000))
    return low, high


def _overlaps(partition: Partition, span: tuple[int, int]) -> bool:
    if partition.first is None or partition.last is None:
        return False
    return partition.first < span[1] and partition.last >= span[0]


def _nothing(store: Store, start: float | None, end: float | None) -> str:
    if start is None and end is None:
        return f"the store {store.folder} has no events: mine logs into it first"
    return (
        f"the store {store.folder} has no events in that time span: "
        "`triage syslog templates` tells when there are"
    )


@dataclass(frozen=True, slots=True)
class _Packing:
    """Minute, host and template as one number."""

    first: int
    """The first minute."""
    host_bits: int
    template_bits: int

    @classmethod
    def of(cls, partitions: Sequence[Partition], hosts: int, templates: int) -> _Packing:
        first = min((one.first for one in partitions if one.first is not None), default=0)
        packing = cls(max(first, -_FARTHEST) // MINUTE, hosts.bit_length(), templates.bit_length())
        if packing.host_bits + packing.template_bits > 31:
            raise StoreError(
                f"{hosts} hosts with {templates} templates are more than can be analysed at a"
                " time: take fewer logs, or another part of the line as the host"
            )
        return packing

    def pack(self, minute: pl.Expr, host: pl.Expr, template: pl.Expr) -> pl.Expr:
        number = (minute - self.first).cast(pl.UInt64)
        number = number * (1 << self.host_bits) + host
        return number * (1 << self.template_bits) + template

    def unpack(self, packed: NDArray[np.uint64], count: NDArray[np.uint64]) -> pl.DataFrame:
        bits, more = np.uint64(self.template_bits), np.uint64(self.host_bits)
        minute = (packed >> (bits + more)).astype(np.int64) + self.first
        host = (packed >> bits) & np.uint64((1 << self.host_bits) - 1)
        template = packed & np.uint64((1 << self.template_bits) - 1)
        return pl.DataFrame(
            {
                "minute": minute.astype(np.int32),
                "host": host.astype(np.uint32),
                "template": template.astype(np.uint32),
                "count": np.minimum(count, 2**32 - 1).astype(np.uint32),
            },
            schema=COUNTS,
        )


_Part = tuple["NDArray[np.uint64]", "NDArray[np.uint64]", int, int]
"""Packed numbers, their counts, the first and the last time."""


def _packed(
    store: Store,
    partitions: Sequence[Partition],
    packing: _Packing,
    hosts: Sequence[str],
    ids: NDArray[np.int64],
    span: tuple[int, int],
) -> Iterator[_Part]:
    number_of = {host: number for number, host in enumerate(hosts)}
    for partition in partitions:
        template = store.template_ids(partition)
        place = np.searchsorted(ids, template).astype(np.uint64)
        known = np.append(ids, -1)[place] == template
        key = pl.Series(place).to_frame("key").select(pl.when(pl.lit(pl.Series(known))).then("key"))
        host = pl.Series([number_of[name] for name in store.hosts(partition)], dtype=pl.UInt64)
        events = store.events(partition)
        found = (
            events.filter(pl.col("time").is_between(*span, closed="left"))
            .select(
                "time",
                "count",
                packed=packing.pack(
                    pl.col("time").floordiv(MINUTE),
                    pl.lit(host).gather(pl.col("host")),
                    pl.lit(key.to_series()).gather(pl.col("key")),
                ),
            )
            .filter(pl.col("packed").is_not_null())
            .collect()
        )
        if len(found):
            first, last = found.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
            # Most groups have one event, so that whatever else they are asked for is expensive
            summed = found.group_by("packed").agg(pl.col("count").sum().cast(pl.UInt64))
            yield summed["packed"].to_numpy(), summed["count"].to_numpy(), first, last


def _merged(
    packed: Sequence[NDArray[np.uint64]], counts: Sequence[NDArray[np.uint64]]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    numbers, amounts = np.concatenate(packed), np.concatenate(counts)
    order = np.argsort(numbers)
    numbers, amounts = numbers[order], amounts[order]
    begins = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    return numbers[begins], np.add.reduceat(amounts, begins)


def _renumber(used: pl.Series, total: int) -> pl.Series:
    place = np.zeros(total, np.uint32)
    place[used.to_numpy()] = np.arange(len(used), dtype=np.uint32)
    return pl.Series(place)
