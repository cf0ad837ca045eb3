"""Settings and masking."""

import pytest

from vmmib.hypervisor.settings import SourceSettings, driver_of, is_local, masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu:///system", "qemu:///system"),
        ("esx://root:pa55@host/?x=1", "esx://root:***@host/?x=1"),
        ("esx://root@host/", "esx://root@host/"),
        ("cannot open 'x://a:b@c', nor y://d:e@f/", "cannot open 'x://a:***@c', nor y://d:***@f/"),
        ("x://:b@c", "x://:***@c"),
        ("http://h/p:q@r", "http://h/p:q@r"),
    ],
)
def test_passwords_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    ("uri", "driver", "local"),
    [
        ("qemu:///system", "qemu", True),
        ("qemu+unix:///system?socket=/run/s", "qemu", True),
        ("qemu+ssh://host/system", "qemu", False),
        ("qemu+tls://[::1]/system", "qemu", False),
        ("esx://root@host/", "esx", False),
        ("test:///default", "test", True),
        ("TEST:///default", "test", True),
        ("nonsense", "nonsense", True),
        ("x://[broken", "x", False),
    ],
)
def test_uris(uri: str, driver: str, local: bool) -> None:
    assert (driver_of(uri), is_local(uri)) == (driver, local)


def test_the_limit_leaves_room_for_a_poll() -> None:
    assert SourceSettings("a", "x", poll_interval=10, silence_limit=30).limit == 30
    assert SourceSettings("a", "x", poll_interval=60, silence_limit=30).limit == 120
