"""Configuration: a TOML or YAML file, command-line flags over it, one frozen `Config` out of it.

Rules
- Those of `vmmib.configfile`, which reads the file.
- Every key is optional. Without a file and without flags the agent serves qemu:///system.
- Secrets have no place in here, nor in a URI nor in argv: files hold them (`auth_file`,
  `host_resources.credentials_file`), which have permissions of their own.

Names and contexts
    Each hypervisor has a name (labels of /metrics, log lines, the state file) and an SNMP context
    (RFC 3411, at most 32 octets). A hypervisor without a name is named after the host in its URI,
    else after its driver, made unique by "-2", "-3", ... The first hypervisor serves the default
    context "", every other one the context that is named like itself, unless the file says
    otherwise. No two may share a name or a context.

Notification defaults
    `notifications.per_vm` is on and `bulk` is off: both on would announce each change twice, and
    only the notification per VM tells which VM it was by name and UUID, and its former state.
    A manager that prefers the bulk ones SETs the two switches, or asks for it here.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vmmib import configfile
from vmmib.agentx.address import parse_address
from vmmib.configfile import (
    SECRET_WORDS,
    Credentials,
    FilePath,
    HostPort,
    Listen,
    LogLevel,
    Name,
    Seconds,
    Section,
    nearest,
    validate,
)
from vmmib.hypervisor.settings import SourceSettings, driver_of, masked

DEFAULT_URI = "qemu:///system"

MAX_CONTEXT = 32
"""Octets of an SNMP context's name (vacmContextName, RFC 3415: SIZE (0..32))."""

MAX_HYPERVISORS = 256
"""Each one is a child process."""

DRIVERS = frozenset(
    {"bhyve", "ch", "esx", "gsx", "hyperv", "lxc", "openvz", "parallels", "qemu", "remote"}
    | {"test", "vbox", "vmwareplayer", "vmwarews", "vmwarefusion", "vpx", "vz", "xen"}
)
"""Hypervisor drivers of libvirt (https://libvirt.org/drivers.html)."""

_REMOTE_ONLY = frozenset({"esx", "gsx", "hyperv", "vpx"})
"""Drivers that speak the hypervisor's own protocol over the network: their URI names a host."""

# Values


def check_uri(uri: str) -> str:
    """Return a libvirt connection URI as it is; raise ValueError with what is wrong with it."""
    try:
        parts = urlsplit(uri)
        host, password, _ = parts.hostname, parts.password, parts.port
    except ValueError as error:
        raise ValueError(f"is no URI: {error}") from None
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]*", uri):
        raise ValueError(f"must be a libvirt URI such as {DEFAULT_URI}")
    if password is not None or any(
        word in key.lower() for key, _ in parse_qsl(parts.query) for word in SECRET_WORDS
    ):
        raise ValueError(
            "must not hold a password: put it into a libvirt auth file and name that as auth_file"
        )
    driver = driver_of(uri)
    if driver not in DRIVERS:
        raise ValueError(
            f'names the driver "{driver}", which libvirt does not have{nearest(driver, DRIVERS)}'
        )
    if driver in _REMOTE_ONLY and not host:
        raise ValueError(f"must name a host: {driver}://USER@HOST/")
    return uri


def _check_socket(text: str) -> str:
    parse_address(text)
    return text


def _check_context(text: str) -> str:
    if len(text.encode()) > MAX_CONTEXT:
        raise ValueError(f"must take at most {MAX_CONTEXT} octets (RFC 3411), as UTF-8")
    if not text.isprintable() or " " in text:
        raise ValueError("must be printable and without spaces")
    return text


def _check_object_id(text: str) -> str:
    arcs = text.removeprefix(".").split(".")
    if not all(re.fullmatch(r"0|[1-9][0-9]{0,9}", arc) and int(arc) < 2**32 for arc in arcs):
        raise ValueError("must be a dotted OID such as 1.3.6.1.4.1.2312")
    if arcs[:6] != ["1", "3", "6", "1", "4", "1"] or not 6 < len(arcs) <= 128:
        raise ValueError("must lie below enterprises, 1.3.6.1.4.1 (RFC 7666, vmHvObjectID)")
    return ".".join(arcs)


# Sections


class HypervisorConfig(Section):
    """One hypervisor: `[[hypervisors]]`."""

    name: Name
    uri: Annotated[str, AfterValidator(check_uri)]
    context: Annotated[str, AfterValidator(_check_context)] = ""
    """SNMP context; "" is the default one."""
    auth_file: FilePath | None = None
    """libvirt auth file with the credentials (https://libvirt.org/auth.html)."""
    poll_interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 10.0
    """Seconds from the start of a refresh to the start of the next."""
    silence_limit: Annotated[Seconds, Field(ge=1, le=24 * 3600)] = Field(
        default_factory=lambda known: max(30.0, 3 * known["poll_interval"])
    )
    """Seconds without an answer after which the VMs' state is unknown(1); 30, or three polls."""
    volumes: bool | None = None
    """Show volumes of storage pools that no VM uses; None: where the driver lists them cheaply."""
    object_id: Annotated[str, AfterValidator(_check_object_id)] | None = None
    """vmHvObjectID in place of the hypervisor's own."""

    @property
    def shown_uri(self) -> str:
        """The URI as logs and labels may show it."""
        return masked(self.uri)

    def source_settings(self) -> SourceSettings:
        """Return what the process that watches it is told."""
        return SourceSettings(
            name=self.name,
            uri=self.uri,
            auth_file="" if self.auth_file is None else str(self.auth_file),
            poll_interval=self.poll_interval,
            silence_limit=self.silence_limit,
            volumes=self.volumes,
        )

    @field_validator("silence_limit")
    @classmethod
    def _longer_than_poll(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("poll_interval", 0):
            raise ValueError("must not be shorter than poll_interval")
        return value


class AgentXConfig(Section):
    """The way to the master agent: `[agentx]`."""

    socket: Annotated[str, AfterValidator(_check_socket)] = "unix:/var/agentx/master"
    timeout: Annotated[int, Field(ge=1, le=255)] = 5
    """Seconds that the master waits for our answer (one octet in RFC 2741, 6.2.1)."""
    ping_interval: Annotated[Seconds, Field(ge=1, le=3600)] = 15.0
    priority: Annotated[int, Field(ge=1, le=255)] = 127
    """Of our registrations; the lowest number wins (RFC 2741, 6.2.3)."""


class NotificationsConfig(Section):
    """Notifications and the start values of their two switches: `[notifications]`."""

    per_vm: bool = True
    bulk: bool = False
    bulk_window: Annotated[Seconds, Field(ge=0, le=60)] = 1.0
    """Seconds over which the changes of one bulk notification are gathered."""
    queue_limit: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Notifications kept while the master is away; the oldest are dropped beyond it."""


class WebConfig(Section):
    """The Prometheus bridge: `[web]`."""

    listen_address: Listen | None = None
    """"HOST:PORT", ":PORT" or "[IPv6]:PORT"; None: no server."""


class HostResourcesConfig(Section):
    """How to ask the master for hrStorageTable (vmStorageParent): `[host_resources]`."""

    address: HostPort = "127.0.0.1:161"
    version: Literal["2c", "3"] = "2c"
    credentials_file: FilePath
    """See `Credentials`."""


class Config(Section):
    """All of it."""

    hypervisors: Annotated[
        tuple[HypervisorConfig, ...], Field(max_length=MAX_HYPERVISORS, strict=False)
    ]
    agentx: AgentXConfig = AgentXConfig()
    notifications: NotificationsConfig = NotificationsConfig()
    web: WebConfig = WebConfig()
    host_resources: HostResourcesConfig | None = None
    state_dir: FilePath = Path("/var/lib/vmmib")
    log_level: LogLevel = "info"

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Give names and contexts to the hypervisors that have none."""
        if not isinstance(data, dict):
            return data
        rows = data.get("hypervisors", [{"uri": DEFAULT_URI}])
        if not isinstance(rows, list):
            return data
        taken = {str(row["name"]) for row in rows if isinstance(row, dict) and "name" in row}
        filled: list[Any] = []
        for number, row in enumerate(rows):
            if isinstance(row, dict) and isinstance(row.get("uri"), str):
                name = row.get("name") or _unique(_name_of(row["uri"]), taken)
                context = "" if number == 0 else name
                filled.append({"name": name, "context": context} | row)
            else:
                filled.append({"name": f"number {number}"} | row if isinstance(row, dict) else row)
        return data | {"hypervisors": filled}

    @field_validator("hypervisors")
    @classmethod
    def _no_two_alike(cls, rows: tuple[HypervisorConfig, ...]) -> tuple[HypervisorConfig, ...]:
        if not rows:
            raise ValueError("must name at least one hypervisor")
        names: dict[str, int] = {}
        contexts: dict[str, str] = {}
        for number, row in enumerate(rows):
            first = names.setdefault(row.name, number)
            if first != number:
                raise ValueError(
                    f'numbers {first + 1} and {number + 1} are both named "{row.name}": '
                    "give each a name of its own"
                )
            other = contexts.setdefault(row.context, row.name)
            if other != row.name:
                raise ValueError(
                    f'"{other}" and "{row.name}" both serve the SNMP context "{row.context}": '
                    "give each a context of its own"
                )
        return rows


def _name_of(uri: str) -> str:
    """Name a hypervisor that was given no name: after its host, else its driver."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(uri)
        name = parts.hostname or driver_of(uri)
        if len(name) > MAX_CONTEXT:
            name = name.partition(".")[0][:MAX_CONTEXT]
        if name:
            return re.sub(r"[^A-Za-z0-9._:-]", "-", name).lstrip(".") or "hypervisor"
    return "hypervisor"


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        suffix = f"-{number}"
        candidate = name[: MAX_CONTEXT - len(suffix)] + suffix
    taken.add(candidate)
    return candidate


_WHERE_SECRETS_GO = (
    "a secret has no place here: put it into auth_file (libvirt) or credentials_file (SNMP)"
)

# Flags and files


@dataclass(frozen=True)
class Flags:
    """What the command line says; None and () leave the file's word, or the default."""

    libvirt_uris: tuple[str, ...] = ()
    """Replace the file's hypervisors; one that the file has too keeps what the file says of it."""
    agentx_socket: str | None = None
    listen_address: str | None = None
    state_dir: str | None = None
    log_level: str | None = None
    poll_interval: str | None = None
    """For every hypervisor; seconds or text with a unit."""


@dataclass
class _Overlay:
    """Raw data with flags laid over it, and which flag each overlaid key came from."""

    data: dict[str, Any]
    origins: dict[tuple[int | str, ...], str] = field(default_factory=dict)

    def put(self, flag: str, value: Any, *keys: str) -> None:
        if value is None:
            return
        table = self.data
        for key in keys[:-1]:
            inner = table.get(key)
            table[key] = dict(inner) if isinstance(inner, dict) else {}
            table = table[key]
        table[keys[-1]] = value
        self.origins[keys] = flag

    def put_hypervisors(self, uris: tuple[str, ...]) -> None:
        if not uris:
            return
        rows = self.data.get("hypervisors")
        known = {
            row["uri"]: row
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict) and isinstance(row.get("uri"), str)
        }
        self.data["hypervisors"] = [known.get(uri, {}) | {"uri": uri} for uri in uris]
        for number in range(len(uris)):
            self.origins["hypervisors", number, "uri"] = "--libvirt-uri"

    def put_poll_interval(self, text: str | None) -> None:
        if text is None:
            return
        value: object = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else text
        rows = self.data.setdefault("hypervisors", [{"uri": DEFAULT_URI}])
        if isinstance(rows, list):
            self.data["hypervisors"] = [
                row | {"poll_interval": value} if isinstance(row, dict) else row for row in rows
            ]
            for number in range(len(rows)):
                self.origins["hypervisors", number, "poll_interval"] = "--poll-interval"


NO_FLAGS = Flags()


def load(path: Path | None = None, flags: Flags = NO_FLAGS) -> Config:
    """Return the configuration of a file (None: of the defaults) with flags laid over it.

    Raises ConfigError with a line for each problem.
    """
    overlay = _Overlay({} if path is None else configfile.parse(path))
    overlay.put_hypervisors(flags.libvirt_uris)
    overlay.put_poll_interval(flags.poll_interval)
    overlay.put("--agentx-socket", flags.agentx_socket, "agentx", "socket")
    overlay.put("--web.listen-address", flags.listen_address, "web", "listen_address")
    # A relative path means another folder on the command line than in a file
    state_dir = str(Path.cwd() / flags.state_dir) if flags.state_dir else flags.state_dir
    overlay.put("--state-dir", state_dir, "state_dir")
    overlay.put("--log.level", flags.log_level, "log_level")
    return validate(Config, overlay.data, path, overlay.origins, _WHERE_SECRETS_GO)


def from_flags(flags: Flags = NO_FLAGS) -> Config:
    """Return the configuration of flags alone; raise ConfigError."""
    return load(None, flags)


def read_credentials(config: HostResourcesConfig) -> Credentials:
    """Read `credentials_file`; raise ConfigError, which never holds a secret."""
    return configfile.read_credentials(config.credentials_file, config.version)
