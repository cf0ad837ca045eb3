"""The modules in mibs/: equal to RFC 7666 in all but wording, clean, and usable with net-snmp.

What needs the genuine modules looks for them in ../shared/mibs beside the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest

from tests.netsnmp import Snmpd, environment, needs_netsnmp
from vmmib import mibs

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "mibs"
BASE = OWN / "base"
GENUINE = ROOT.parent / "shared" / "mibs"

MODULES = ("VM-MIB", "UUID-TC-MIB", "IANA-STORAGE-MEDIA-TYPE-MIB")
BASE_MODULES = tuple(sorted(file.stem for file in BASE.glob("*.txt")))
WITH_OWN_BASE = f"{OWN}:{BASE}"

needs_smitools = pytest.mark.skipif(
    not all(map(shutil.which, ("smilint", "smidump", "smidiff"))), reason="needs smitools"
)
needs_genuine = pytest.mark.skipif(
    not (GENUINE / "VM-MIB.txt").is_file(), reason=f"no genuine modules in {GENUINE}"
)
bases = pytest.mark.parametrize(
    "base", [BASE, pytest.param(GENUINE, marks=needs_genuine)], ids=["own base", "genuine base"]
)

WORDS_IN_COMMON = 8
"""A run of so many words that is in both texts was copied, not written."""


def run(*command: str, smipath: str) -> subprocess.CompletedProcess[str]:
    """Run one of smitools' programs with nothing but `smipath` to find modules in."""
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "SMIPATH": smipath},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@cache
def dump(module: str, smipath: str) -> ET.Element:
    """Return smidump's XML of `module`."""
    done = run("smidump", "--quiet", "--keep-going", "--format=xml", module, smipath=smipath)
    root = ET.fromstring(done.stdout)  # noqa: S314
    named = root.find("module")
    assert named is not None
    assert named.get("name") == module
    return root


def canonical(element: ET.Element, without: frozenset[str]) -> str:
    """Return `element` as text, without the elements named in `without` and without layout."""
    children = [canonical(child, without) for child in element if child.tag not in without]
    attributes = sorted(element.attrib.items())
    return f"<{element.tag} {attributes} {(element.text or '').strip()!r} {' '.join(children)}>"


WORDING = frozenset({"description", "contact"})


# The same definitions


@needs_smitools
@needs_genuine
@pytest.mark.parametrize("module", MODULES)
def test_all_but_the_wording_is_the_genuine_modules(module: str) -> None:
    own = canonical(dump(module, WITH_OWN_BASE), WORDING)
    genuine = canonical(dump(module, str(GENUINE)), WORDING)
    assert own.replace("> <", ">\n<").splitlines() == genuine.replace("> <", ">\n<").splitlines()


@needs_smitools
@needs_genuine
@pytest.mark.parametrize("module", MODULES)
def test_smidiff_sees_no_change_but_in_the_wording(module: str) -> None:
    old, new = GENUINE / f"{module}.txt", OWN / f"{module}.txt"
    done = run("smidiff", "-l", "9", "-m", str(old), str(new), smipath=str(GENUINE))
    kinds = set(re.findall(r"\{([a-z0-9-]+)\}", done.stdout + done.stderr))
    # A revision counts as changed when its description is.
    assert kinds <= {
        "contact-changed",
        "description-changed",
        "revision-changed",
        "previous-definition",
    }
    assert "contact-changed" in kinds, "smidiff compared nothing"


def named(module: str, smipath: str) -> dict[tuple[str, str], str]:
    """Return what `module` defines: (kind, name) to its definition without wording and columns.

    MIBs shrink by leaving out columns of a table; what is left must not differ.
    """
    found = {}
    for element in dump(module, smipath).iter():
        if element.tag in ("node", "typedef", "scalar", "table", "row", "column") or (
            element.tag in ("notification", "group") and "oid" in element.attrib
        ):
            name = element.get("name")
            if name is not None:
                inside = frozenset({"row", "column", "reference"})
                found[element.tag, name] = canonical(element, WORDING | inside)
    return found


@needs_smitools
@needs_genuine
@pytest.mark.parametrize("module", [name for name in BASE_MODULES if name != "SNMPv2-CONF"])
def test_base_modules_hold_nothing_that_the_genuine_ones_do_not(module: str) -> None:
    own = named(module, str(BASE))
    genuine = named(module, str(GENUINE))
    assert len(own) > 0
    assert own == {key: genuine.get(key) for key in own}


# In words of their own


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def descriptions(file: Path) -> list[str]:
    """Return the texts of all DESCRIPTION clauses of a module."""
    texts = re.findall(r'\bDESCRIPTION\s+"([^"]*)"', file.read_text(encoding="utf-8"))
    assert texts or file.stem in ("SNMPv2-SMI", "SNMPv2-CONF")
    return texts


def runs(texts: list[str]) -> set[str]:
    """Return all runs of WORDS_IN_COMMON words."""
    found = set()
    for text in texts:
        all_words = words(text)
        for start in range(len(all_words) - WORDS_IN_COMMON + 1):
            found.add(" ".join(all_words[start : start + WORDS_IN_COMMON]))
    return found


@needs_genuine
@pytest.mark.parametrize(
    "file", [*OWN.glob("*.txt"), *BASE.glob("*.txt")], ids=lambda file: file.stem
)
def test_no_sentence_is_taken_over(file: Path) -> None:
    own = runs(descriptions(file))
    genuine = runs(descriptions(GENUINE / file.name))
    assert own & genuine == set()
    assert file.stem == "SNMPv2-CONF" or re.search(
        r"RFC \d{4}", file.read_text(encoding="utf-8")
    ), "names no authority"


# Clean

TYPES_FOR_OTHERS = ("type-unref",)
"""A module of types alone uses none of them."""
REDUCED = ("type-unref", "group-unref", "group-membership")
"""A reduced module lacks what refers to what it has."""
AS_THE_GENUINE = {
    # ifIndex is readable in RFC 2863 as well.
    "IF-MIB": ("index-element-accessible",),
    # So is TimeStamp in RFC 2579.
    "SNMPv2-TC": ("type-without-format",),
}


def lint(module: str, smipath: str, ignored: tuple[str, ...]) -> str:
    options = [f"--ignore={kind}" for kind in ignored]
    return run("smilint", "-l", "6", "-m", *options, module, smipath=smipath).stdout


@needs_smitools
@bases
@pytest.mark.parametrize("module", MODULES)
def test_smilint_is_content(module: str, base: Path) -> None:
    ignored = () if module == "VM-MIB" else TYPES_FOR_OTHERS
    assert lint(str(OWN / f"{module}.txt"), f"{OWN}:{base}", ignored) == ""


@needs_smitools
# smilint has the types of SNMPv2-SMI built in and finds fault with every definition of them, the
# genuine one as well.
@pytest.mark.parametrize("module", [name for name in BASE_MODULES if name != "SNMPv2-SMI"])
def test_smilint_is_content_with_the_base(module: str) -> None:
    ignored = REDUCED + AS_THE_GENUINE.get(module, ())
    assert lint(str(BASE / f"{module}.txt"), str(BASE), ignored) == ""


# With net-snmp's tools


def search_path(base: Path) -> str:
    """Return a value of -M; of two modules of one name net-snmp takes the later."""
    return f"{base}:{OWN}"


def translate(tmp_path: Path, mibdirs: str, *arguments: str) -> list[str]:
    """Return the lines that snmptranslate gives for `arguments`; it may warn of nothing."""
    done = subprocess.run(
        ["snmptranslate", "-M", mibdirs, "-m", "VM-MIB", *arguments],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    complaints = [x for x in done.stderr.splitlines() if not x.startswith("Created directory")]
    assert complaints == []
    return done.stdout.split()


def all_names(smipath: str) -> dict[str, str]:
    """Return every name that has an OID in VM-MIB, with it."""
    found = {
        f"VM-MIB::{element.get('name')}": f".{element.get('oid')}"
        for element in dump("VM-MIB", smipath).iter()
        if element.get("oid") and element.get("name")
    }
    # 57 objects with tables and rows, 20 notifications, 9 groups, 2 compliances, 7 nodes
    assert len(found) > 90
    return found


@needs_netsnmp
@needs_smitools
@bases
def test_net_snmp_resolves_every_name(tmp_path: Path, base: Path) -> None:
    names = all_names(WITH_OWN_BASE)
    names["SNMPv2-MIB::snmpTrapOID"] = ".1.3.6.1.6.3.1.1.4.1"
    names["SNMPv2-MIB::sysUpTime"] = ".1.3.6.1.2.1.1.3"
    names["SNMPv2-MIB::sysORDescr"] = ".1.3.6.1.2.1.1.9.1.3"
    names["IF-MIB::linkDown"] = ".1.3.6.1.6.3.1.1.5.3"
    mibdirs = search_path(base)
    assert translate(tmp_path, mibdirs, "-On", *names) == list(names.values())
    assert translate(tmp_path, mibdirs, *names.values()) == list(names)


@needs_netsnmp
@bases
def test_a_walk_shows_names_labels_and_hints(tmp_path: Path, base: Path) -> None:
    vm = "1.3.6.1.2.1.236.1"
    with Snmpd(
        tmp_path,
        extra_conf="\n".join(
            (
                f"override {vm}.4.1.3.7 octet_str 0x8d5f2233445566778899aabbccddeeff",
                f"override {vm}.4.1.6.7 integer 10",
                f"override {vm}.8.1.5.7.1 octet_str 0x525400aabb01",
                f"override {vm}.7.1.8.7.1 integer 4",
                f"override {vm}.9.0 integer 2",
            )
        ),
    ) as snmpd:
        done = snmpd.run("snmpwalk", vm, options=["-M", search_path(base), "-m", "VM-MIB", "-O0"])
    assert [x for x in done.stderr.splitlines() if not x.startswith("Created directory")] == []
    assert done.stdout.splitlines() == [
        "VM-MIB::vmUUID.7 = STRING: 8d5f2233-4455-6677-8899-aabbccddeeff",
        "VM-MIB::vmOperState.7 = INTEGER: shuttingdown(10)",
        "VM-MIB::vmStorageMediaType.7.1 = INTEGER: opticalDisk(4)",
        "VM-MIB::vmNetworkPhysAddress.7.1 = STRING: 52:54:00:aa:bb:01",
        "VM-MIB::vmPerVMNotificationsEnabled.0 = INTEGER: false(2)",
    ]


# Found by the program


def test_the_folders_are_found_and_whole() -> None:
    assert {file.stem for file in mibs.folder().glob("*.txt")} == set(MODULES)
    assert mibs.base_folder().parent == mibs.folder()


def test_the_search_path_leaves_out_the_base_where_net_snmp_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIBDIRS", str(tmp_path))
    assert mibs.search_path() == f"{mibs.folder()}:{mibs.base_folder()}"
    for module in BASE_MODULES[1:]:
        (tmp_path / f"{module}.mib").touch()
    assert mibs.search_path() == f"{mibs.folder()}:{mibs.base_folder()}"
    (tmp_path / BASE_MODULES[0]).touch()
    assert mibs.search_path() == str(mibs.folder())


def test_missing_modules_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mibs, "_PACKAGE", tmp_path / "vmmib")
    with pytest.raises(mibs.MibsMissingError, match=r"VM-MIB\.txt is neither in .*install"):
        mibs.folder()
    with pytest.raises(mibs.MibsMissingError, match=r"SNMPv2-SMI\.txt"):
        mibs.base_folder()
