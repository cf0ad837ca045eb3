"""Which files are logs, and which host a file's name means.

Rules
- Folders are searched to any depth, in order of names; hidden ones, and links to folders, are not.
  A folder that holds the store of an analysis is not searched.
- Of what a folder holds, files that are no text are passed over: journals, databases, Parquet,
  archives, wtmp. A file that was named is never passed over: the error tells why it is not read.
- A file's host is its name without what rotation, packing and syslog daemons put around it; where
  that is the name of a kind of log ("messages", "syslog", "vmkernel"), its folder's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from triage.syslog.reading.unpack import DamagedError, ReadError, opened, unpacked

STORE_MARK = "store.json"
"""A folder with this file, of the store's format, is a store."""

_LOOK = 4096
_NO_TEXT = (
    b"LPKSHHRH",  # systemd journal
    b"PAR1",
    b"SQLite format 3\x00",
    b"\x7fELF",
    b"PK\x03\x04",
    b"\x89PNG",
    b"%PDF",
    b"ARROW1",
)
_NO_LOGS = re.compile(
    r"\.(?:json|csv|tsv|ya?ml|toml|conf|cfg|ini|html?|xml|md|py|sh|db|sqlite|parquet|svg|png|pid|lock)\Z",
    re.IGNORECASE,
)
"""Names of what else lies in a folder of logs: tables, settings, reports. Such a file is read when
it is named itself."""
_MOST_ZEROS = 0.2
"""Part of a text's first bytes that may be zeros, which a crash leaves in a log."""
_ENDINGS = re.compile(
    r"(?:\.(?:gz|xz|zst|bz2|log|txt|out|old|[0-9]{1,8})|[-_.][0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[-T_]?[0-9]{2,6})?)\Z",
    re.IGNORECASE,
)
_KINDS = frozenset(
    re.findall(
        r"[\w.-]+",
        """
        all auth authlog authpriv boot clomd console cron current daemon debug dhclient dmesg error
        esxupdate everything fdm hostd hostd-probe kern kernel local local0 local1 local2 local3
        local4 local5 local6 local7 log logs mail mail.info maillog main messages misc osfsd other
        remote rhttpproxy secure shell storagerm swapobjd sysboot sysevent-service syslog system
        usb user vitd vmauthd vmkdevmgr vmkernel vmkeventd vmksummary vmkwarning vmware vobd vpxa
        vsanmgmt vsantraced vsansystem vvold warn warning
        """,
    )
)
_FOLDERS = _KINDS | {"archive", "archives", "data", "hosts", "hypervisors", "journal", "old"}
_FOLDERS |= {"rsyslog", "syslog-ng", "tmp", "var"}
_AROUND = re.compile(
    r"\A(?:messages|syslog|kern|auth|daemon|system|vmkernel|hostd)[-_.](?=[A-Za-z])"
    r"|[-_.](?:messages|syslog|kern|auth|daemon|system|vmkernel|hostd|vmkwarning|vpxa|vobd)\Z",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z])")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:%-]*\Z")


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """Return the log files that paths name, folders searched, each once, sorted.

    Raises:
        ReadError: a path is not there, cannot be read or is no text; or no log was found.
    """
    given = list(paths)
    found: set[Path] = set()
    for path in given:
        if path.is_dir():
            found.update(one for one in files_in(path) if is_text(one))
        else:
            _check(path)
            found.add(path)
    if not found:
        names = ", ".join(map(str, given)) or "nothing given"
        raise ReadError(f"{names}: no log files in it; name files, or a folder that holds them")
    return sorted(found)


def host_of(path: Path, pattern: str = "") -> str:
    """Return the host that a file's path means, "" if it means none.

    Args:
        path: of the file.
        pattern: a regular expression that is searched for in the path; its group `host`, or its
            first one, or all that it found, is the host. "": by the rules above.

    Raises:
        ReadError: the pattern is no regular expression.
    """
    if pattern:
        try:
            found = re.search(pattern, str(path))
        except re.error as error:
            raise ReadError(f"host pattern {pattern!r}: {error}; correct it") from None
        if not found:
            return ""
        groups = found.groupdict().get("host"), *found.groups()
        return next((group for group in groups if group), "") if found.re.groups else found[0]
    if address := _ADDRESS.match(path.name):
        return address[0]
    name = _bare(path.name)
    if name.lower() not in _KINDS:
        return name if _HOST.match(name) else ""
    for folder in path.absolute().parent.parts[:0:-1]:
        if folder.lower() not in _FOLDERS and not re.fullmatch(r"[0-9._-]{1,10}", folder):
            return folder if _HOST.match(folder) else ""
    return ""


def is_text(path: Path) -> bool:
    """Whether a file's first bytes, unpacked, are a text's; an empty file is one.

    Raises:
        ReadError: it cannot be read.
    """
    head = b""
    try:
        for piece, _ in unpacked(path):
            head += piece
            if len(head) >= _LOOK:
                break
    except DamagedError:
        pass  # what came before counts
    head = head[:_LOOK]
    if head.startswith(_NO_TEXT):
        return False
    rest = head.lstrip(b"\x00")  # a hole that truncation left
    return rest.count(0) <= len(rest) * _MOST_ZEROS and not (head and not rest)


def _bare(name: str) -> str:
    last = ""
    while last != name:
        last, name = name, _ENDINGS.sub("", name) or name
    return _AROUND.sub("", name) or name


def _check(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ReadError(f"{path}: is no regular file; name a file, or a folder that holds some")
    if not is_text(path):
        with opened(path) as file:
            journal = file.read(8) == b"LPKSHHRH"
        hint = "export it: journalctl -o short-iso-precise --file" if journal else "name a text log"
        raise ReadError(f"{path}: is {'a journal' if journal else 'no text'}; {hint}")


def files_in(folder: Path) -> Iterator[Path]:
    """Give the files of a folder that may be logs, without looking into them.

    Raises:
        ReadError: a folder cannot be read.
    """
    for place, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if STORE_MARK in files and _is_store(here / STORE_MARK):
            folders[:] = []
            continue
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and not _NO_LOGS.search(name) and path.is_file():
                yield path


def _is_store(mark: Path) -> bool:
    with opened(mark) as file:
        return b"triage-syslog-store" in file.read(256)


def _refuse(error: OSError) -> None:
    raise ReadError(f"{error.filename}: {error.strerror}; let this user read it") from None
