"""Configuration: a TOML or YAML file, command-line flags over it, one frozen `Config` out of it.

Rules
- The suffix decides the language: .toml, or .yaml and .yml.
- Every key is optional. Without a file and without flags the agent serves qemu:///system.
- A key that nobody knows is refused, naming the nearest known one: a typing error must never
  leave a default in place unseen. Types are strict ("1" is no number, 1 is no boolean).
- Durations are seconds (2.5) or text with a unit ("500ms", "30s", "5m", "1h").
- Relative paths in a file are relative to the folder of that file.
- Secrets have no place in here, nor in a URI nor in argv: files hold them (`auth_file`,
  `host_resources.credentials_file`), which have permissions of their own.
- All problems are reported at once, one line each, naming the file (or flag) and the key.

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
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vmmib.agentx.address import parse_address
from vmmib.hypervisor.settings import SourceSettings, driver_of, masked

DEFAULT_URI = "qemu:///system"

MAX_FILE_SIZE = 1024 * 1024
"""Octets; a configuration of a thousand hypervisors takes a tenth of this."""

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

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h)")
_SECRET_WORDS = ("password", "passwd", "secret", "community", "passphrase")

LogLevel = Literal["debug", "info", "warning", "error"]


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


# Values


def parse_duration(value: object) -> object:
    """Return seconds for a text with a unit; leave all else to the type check."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError('must be seconds (2.5) or text with a unit ("500ms", "30s", "5m", "1h")')
    return float(match[1]) * _UNITS[match[2]]


def split_host_port(text: str) -> tuple[str, int]:
    """Split "HOST:PORT", ":PORT" (every address) or "[IPv6]:PORT"; raise ValueError.

    Port 0 is any free one.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError('must be HOST:PORT, ":9177" (every address) or "[::1]:9177"')
    return match[1] or match[2] or "", int(match[3])


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
        word in key.lower() for key, _ in parse_qsl(parts.query) for word in _SECRET_WORDS
    ):
        raise ValueError(
            "must not hold a password: put it into a libvirt auth file and name that as auth_file"
        )
    driver = driver_of(uri)
    if driver not in DRIVERS:
        raise ValueError(
            f'names the driver "{driver}", which libvirt does not have{_nearest(driver, DRIVERS)}'
        )
    if driver in _REMOTE_ONLY and not host:
        raise ValueError(f"must name a host: {driver}://USER@HOST/")
    return uri


def _check_socket(text: str) -> str:
    parse_address(text)
    return text


def _check_listen(text: str) -> str:
    split_host_port(text)
    return text


def _check_agent(text: str) -> str:
    host, port = split_host_port(text)
    if not host or not port:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:161"')
    return text


def _check_name(text: str) -> str:
    if not text.isprintable() or "/" in text or text.startswith("."):
        raise ValueError('must be printable, without "/" and not begin with "."')
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


def _resolve(path: Path, info: ValidationInfo) -> Path:
    if "\0" in str(path) or not str(path).strip() or str(path) == ".":
        raise ValueError("must be a path")
    folder = (info.context or {}).get("folder", Path.cwd())
    return Path(folder, path)


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(allow_inf_nan=False)]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_check_name)]


# Sections


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class HypervisorConfig(_Section):
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


class AgentXConfig(_Section):
    """The way to the master agent: `[agentx]`."""

    socket: Annotated[str, AfterValidator(_check_socket)] = "unix:/var/agentx/master"
    timeout: Annotated[int, Field(ge=1, le=255)] = 5
    """Seconds that the master waits for our answer (one octet in RFC 2741, 6.2.1)."""
    ping_interval: Annotated[Seconds, Field(ge=1, le=3600)] = 15.0
    priority: Annotated[int, Field(ge=1, le=255)] = 127
    """Of our registrations; the lowest number wins (RFC 2741, 6.2.3)."""


class NotificationsConfig(_Section):
    """Notifications and the start values of their two switches: `[notifications]`."""

    per_vm: bool = True
    bulk: bool = False
    bulk_window: Annotated[Seconds, Field(ge=0, le=60)] = 1.0
    """Seconds over which the changes of one bulk notification are gathered."""
    queue_limit: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Notifications kept while the master is away; the oldest are dropped beyond it."""


class WebConfig(_Section):
    """The Prometheus bridge: `[web]`."""

    listen_address: Annotated[str, AfterValidator(_check_listen)] | None = None
    """"HOST:PORT", ":PORT" or "[IPv6]:PORT"; None: no server."""


class HostResourcesConfig(_Section):
    """How to ask the master for hrStorageTable (vmStorageParent): `[host_resources]`."""

    address: Annotated[str, AfterValidator(_check_agent)] = "127.0.0.1:161"
    version: Literal["2c", "3"] = "2c"
    credentials_file: FilePath
    """See `Credentials`."""


class Config(_Section):
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
    overlay = _Overlay({} if path is None else _parse(path))
    overlay.put_hypervisors(flags.libvirt_uris)
    overlay.put_poll_interval(flags.poll_interval)
    overlay.put("--agentx-socket", flags.agentx_socket, "agentx", "socket")
    overlay.put("--web.listen-address", flags.listen_address, "web", "listen_address")
    # A relative path means another folder on the command line than in a file
    state_dir = str(Path.cwd() / flags.state_dir) if flags.state_dir else flags.state_dir
    overlay.put("--state-dir", state_dir, "state_dir")
    overlay.put("--log.level", flags.log_level, "log_level")
    folder = Path.cwd() if path is None else path.absolute().parent
    try:
        return Config.model_validate(overlay.data, context={"folder": folder})
    except ValidationError as error:
        where = "" if path is None else f"{path}: "
        raise ConfigError(
            dict.fromkeys(
                _line(problem, where, overlay)
                for problem in error.errors(include_url=False)
                if problem["type"] != "default_factory_not_called"
            )
        ) from None


def from_flags(flags: Flags = NO_FLAGS) -> Config:
    """Return the configuration of flags alone; raise ConfigError."""
    return load(None, flags)


class _YamlLoader(yaml.SafeLoader):
    """YAML as TOML is: keys are text, and one that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
                raise yaml.MarkedYAMLError(None, None, "a key that is no text", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    None, None, f'the key "{key.value}" is given twice', key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(path: Path) -> dict[str, Any]:
    """Read a file into plain data; raise ConfigError."""
    if path.suffix not in {".toml", ".yaml", ".yml"}:
        raise ConfigError([f"{path}: the name must end in .toml, .yaml or .yml"])
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE_SIZE + 1)
        if len(octets) > MAX_FILE_SIZE:
            raise ConfigError([f"{path}: is larger than {MAX_FILE_SIZE} octets"])
        text = octets.decode()
        data = tomllib.loads(text) if path.suffix == ".toml" else _parse_yaml(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 (octet {error.start})"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: is nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError is one, and so is a date such as 2024-02-31
        raise ConfigError([f"{path}: not valid: {_one_line(error)}"]) from None
    if not isinstance(data, dict):
        raise ConfigError([f"{path}: must hold keys and values at its top level"])
    return data


def _parse_yaml(text: str) -> object:
    """Return plain data; raise ValueError."""
    try:
        data: object = yaml.load(text, _YamlLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"{error.problem}{place}") from None
    except yaml.YAMLError as error:
        raise ValueError(error) from None
    return {} if data is None else data


# Problems


def _sections() -> dict[str, type[_Section]]:
    return {
        "hypervisors": HypervisorConfig,
        "agentx": AgentXConfig,
        "notifications": NotificationsConfig,
        "web": WebConfig,
        "host_resources": HostResourcesConfig,
    }


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{found[0]}"?' if found else ""


def _unknown_key(location: tuple[int | str, ...]) -> str:
    """Say of a key that nobody knows what was meant, as far as that can be guessed."""
    key = str(location[-1])
    if any(word in key.lower() for word in _SECRET_WORDS):
        return (
            "a secret has no place here: put it into auth_file (libvirt) or credentials_file (SNMP)"
        )
    model: type[BaseModel] = Config
    if len(location) > 1:
        model = _sections().get(str(location[0]), Config)
    hint = _nearest(key, model.model_fields)
    if not hint:
        for section, other in _sections().items():
            if other is not model and key in other.model_fields:
                table = "[[hypervisors]]" if section == "hypervisors" else f"[{section}]"
                return f"unknown key here; it belongs into {table}"
        if model is not Config and key in Config.model_fields:
            return "unknown key here; it belongs to the top level"
        hint = "; the known ones are " + ", ".join(model.model_fields)
    return f"unknown key{hint}"


def _line(problem: Mapping[str, Any], where: str, overlay: _Overlay) -> str:
    location: tuple[int | str, ...] = problem["loc"]
    kind: str = problem["type"]
    flag = overlay.origins.get(location)
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location)
    prefix = f"{flag}: " if flag else f"{where}{key.removeprefix('.')}: "
    if kind == "extra_forbidden":
        return prefix + _unknown_key(location)
    if kind == "value_error":
        return prefix + _one_line(problem["ctx"]["error"])
    return prefix + _WORDING.get(kind, _default_wording)(problem)


def _default_wording(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"])
    message = message.removeprefix("Input should be ").removeprefix("Value should be ")
    return f"must be {_one_line(message)}"


_WORDING: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "string_type": lambda _: "must be text",
    "bool_type": lambda _: "must be true or false",
    "int_type": lambda _: "must be a whole number",
    "float_type": lambda _: 'must be seconds (2.5) or text with a unit ("500ms", "30s", "5m")',
    "finite_number": lambda _: "must be finite",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda p: f"must be at most {p['ctx']['max_length']} characters long",
    "too_long": lambda p: f"must name at most {p['ctx']['max_length']} hypervisors",
    "tuple_type": lambda _: "must be a list of tables, [[hypervisors]]",
    "model_type": lambda _: "must be a table of keys and values",
    "dict_type": lambda _: "must be a table of keys and values",
    "model_attributes_type": lambda _: "must be a table of keys and values",
    "path_type": lambda _: "must be a path",
    "greater_than_equal": lambda p: f"must be at least {p['ctx']['ge']:g}",
    "less_than_equal": lambda p: f"must be at most {p['ctx']['le']:g}",
}


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


# Credentials of the master agent


class Credentials(_Section):
    """How to log in to the master: the content of `host_resources.credentials_file` (TOML).

    For version 2c `community`; for version 3 `user` and, as the master wants it, the rest.
    """

    community: SecretStr | None = None
    user: str | None = None
    auth_protocol: Literal["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"] | None = None
    auth_passphrase: SecretStr | None = None
    priv_protocol: Literal["DES", "AES"] | None = None
    priv_passphrase: SecretStr | None = None
    context: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Credentials:
        if (self.community is None) == (self.user is None):
            raise PydanticCustomError("either", "give either community or user")
        for kind in ("auth", "priv"):
            one, other = f"{kind}_protocol", f"{kind}_passphrase"
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise PydanticCustomError("both", "give both {a} and {b}", {"a": one, "b": other})
        if self.priv_protocol and not self.auth_protocol:
            raise PydanticCustomError("both", "priv_protocol needs auth_protocol")
        return self


def read_credentials(config: HostResourcesConfig) -> Credentials:
    """Read `credentials_file`; raise ConfigError, which never holds a secret."""
    path = config.credentials_file
    if path.suffix != ".toml":
        raise ConfigError([f"{path}: the name must end in .toml"])
    try:
        found = Credentials.model_validate(_parse(path))
    except ValidationError as error:
        raise ConfigError(
            _credential_line(path, problem) for problem in error.errors(include_url=False)
        ) from None
    if (config.version == "2c") != (found.community is not None):
        wanted = "community" if config.version == "2c" else "user"
        raise ConfigError([f"{path}: version {config.version} needs {wanted}"])
    return found


def _credential_line(path: Path, problem: Mapping[str, Any]) -> str:
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] in {"either", "both"}:
        return f"{path}: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key{_nearest(key, Credentials.model_fields)}"
    return f"{path}: {key}: {_WORDING.get(problem['type'], _default_wording)(problem)}"
