import pytest

from vmmib.agentx.address import DEFAULT, Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/var/agentx/master", DEFAULT),
        ("/var/agentx/master", DEFAULT),
        ("unix:", DEFAULT),
        ("UNIX:/x", Address(path="/x")),
        ("tcp:localhost:705", Address(host="localhost", port=705)),
        ("TCP:192.0.2.1:1705", Address(host="192.0.2.1", port=1705)),
        ("tcp:localhost", Address(host="localhost", port=705)),
        ("tcp:1705", Address(host="localhost", port=1705)),
        ("tcp:", Address(host="localhost", port=705)),
        ("tcp::1705", Address(host="localhost", port=1705)),
        ("705", Address(host="localhost", port=705)),
        ("master.example:705", Address(host="master.example", port=705)),
        ("tcp6:[::1]:1705", Address(host="::1", port=1705, ipv6=True)),
        ("tcpv6:[::1]", Address(host="::1", port=705, ipv6=True)),
        ("tcp6:::1:705", Address(host="::1", port=705, ipv6=True)),
        ("tcp6:host.example:1", Address(host="host.example", port=1, ipv6=True)),
        ("  tcp:h:65535 ", Address(host="h", port=65535)),
    ],
)
def test_spellings(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "address",
    [DEFAULT, Address(host="localhost", port=705), Address(host="::1", port=1, ipv6=True)],
)
def test_written_form_is_read_back(address: Address) -> None:
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "udp:127.0.0.1:705", "udp6:[::1]:705", "dtlsudp:h:1", "relative/path", "unix:relative",
     "localhost", "tcp:h:0", "tcp:h:65536", "tcp:h:99999999999999999999", "tcp:h:port",
     "tcp:::1:705", "tcp:[::1]:705", "tcp6:[::1", "tcp6:[]:1", "tcp6:[::1]705", "tcp:a b:1",
     "http://h:1", "/a,tcp:h:1", "unix:/" + "a" * 200, "unix:/a\0b",
     "tcp:" + "a" * 70 + ":1", "tcp:a..b:1"],
)  # fmt: skip
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)
