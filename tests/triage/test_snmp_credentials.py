"""Credentials: read, checked, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.snmp.credentials import CredentialsError, SnmpCredentials, read_credentials

SECRET = "do-not-show-me"  # noqa: S105
V3 = f"""
user = "triage"
auth_protocol = "SHA-512"
auth_passphrase = "{SECRET}"
priv_protocol = "AES-256"
priv_passphrase = "{SECRET}"
context = "esx1"
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "esx1.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_community_and_a_user(tmp_path: Path) -> None:
    found = read_credentials(written(tmp_path, f'community = "{SECRET}"'))
    assert (found.version, found.community) == ("2c", SECRET)
    found = read_credentials(written(tmp_path, V3))
    assert (found.version, found.level, found.context) == ("3", "authPriv", "esx1")
    assert SECRET not in repr(found)
    assert SECRET not in str(found)
    assert SnmpCredentials(user="x").level == "noAuthNoPriv"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "either community or user"),
        (f'community = "{SECRET}"\nuser = "x"', "either community or user"),
        (V3.replace("SHA-512", "SHA-3"), "auth_protocol must be one of"),
        (V3.replace("AES-256", "3DES"), "priv_protocol must be one of"),
        (V3.replace(f'auth_passphrase = "{SECRET}"', ""), "both auth_protocol and auth_passphrase"),
        (V3.replace(SECRET, "short"), "at least 8 characters"),
        ('user = "x"\npriv_protocol = "AES"\npriv_passphrase = "12345678"', "needs auth_protocol"),
        (f'communty = "{SECRET}"', "communty: unknown key"),
        ("community = 5", "must be text"),
        (f'community = "{SECRET}', "is no TOML"),
        (f'user = "{"x" * 33}"', "at most 32 octets"),
        (b"\xff\xfe", "is no TOML"),
        ("#" * 70_000, "too large"),
    ],
)
def test_mistakes_are_one_line_without_secrets(
    tmp_path: Path, text: str | bytes, line: str
) -> None:
    with pytest.raises(CredentialsError) as caught:
        read_credentials(written(tmp_path, text))
    shown = str(caught.value)
    assert line in shown
    assert "esx1.toml" in shown
    assert "\n" not in shown
    assert SECRET not in shown


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"none\.toml: cannot be read"):
        read_credentials(tmp_path / "none.toml")
