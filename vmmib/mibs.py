"""Where the MIB modules are: VM-MIB and what it imports, for net-snmp's tools and for reading.

An installed package carries them inside itself; in a checkout they are the folder `mibs/` at its
root. Below them lies `base/`: as much of the SNMPv2-* modules, SNMP-FRAMEWORK-MIB and IF-MIB as
VM-MIB needs, for systems that have none of these (Debian's main archive does not).
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

_DEFAULT_MIBDIRS = (
    "~/.snmp/mibs",
    "/usr/share/snmp/mibs",
    "/usr/share/snmp/mibs/iana",
    "/usr/share/snmp/mibs/ietf",
)
"""Where Debian's net-snmp looks without MIBDIRS and -M."""


class MibsMissingError(Exception):
    """The MIB modules are not where the package keeps them."""


def folder() -> Path:
    """Return the folder of VM-MIB, UUID-TC-MIB and IANA-STORAGE-MEDIA-TYPE-MIB.

    Raises MibsMissingError.
    """
    return _find("VM-MIB.txt")


def base_folder() -> Path:
    """Return the folder of the reduced base modules.

    Raises MibsMissingError.
    """
    return _find("base/SNMPv2-SMI.txt")


def search_path() -> str:
    """Return what follows `-M +` so that net-snmp's tools can load VM-MIB here.

    The reduced base modules are in it only where net-snmp finds no whole ones: of two modules of
    one name net-snmp takes the one that is later in its path.

    Raises MibsMissingError.
    """
    own = folder()
    base = base_folder()
    needed = {file.stem for file in base.glob("*.txt")}
    return str(own) if needed <= _installed() else f"{own}:{base}"


def _find(file: str) -> Path:
    candidates = (_PACKAGE / "_mibs", _PACKAGE.parent / "mibs")
    for candidate in candidates:
        if (candidate / file).is_file():
            return (candidate / file).parent
    places = " and ".join(str(candidate) for candidate in candidates)
    raise MibsMissingError(f"{file} is neither in {places}: install vmmib again")


def _installed() -> set[str]:
    """Return the names of the modules in the folders that net-snmp searches by itself."""
    mibdirs = os.environ.get("MIBDIRS", "").lstrip("+-")
    names: set[str] = set()
    for directory in mibdirs.split(":") if mibdirs else _DEFAULT_MIBDIRS:
        try:
            names.update(file.stem for file in Path(directory).expanduser().iterdir())
        except (OSError, RuntimeError):
            continue  # absent, unreadable or no home: net-snmp passes it over as well
    return names
