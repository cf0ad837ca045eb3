"""Reading configuration files: what both commands' configurations have in common.

Rules
- The suffix decides the language: .toml, or .yaml and .yml.
- A key that nobody knows is refused, naming the nearest known one: a typing error must never
  leave a default in place unseen. Types are strict ("1" is no number, 1 is no boolean).
- Durations are seconds (2.5) or text with a unit ("500ms", "30s", "5m", "1h").
- Relative paths in a file are relative to the folder of that file.
- Secrets have no place in a configuration: files hold them, which have permissions of their own.
- All problems are reported at once, one line each, naming the file (or flag) and the key.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

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
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_FILE_SIZE = 1024 * 1024
"""Octets; a configuration of a thousand hypervisors takes a tenth of this."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")
SECRET_WORDS = ("password", "passwd", "secret", "community", "passphrase", "token")

Location = tuple[int | str, ...]
LogLevel = Literal["debug", "info", "warning", "error"]
AnySection = TypeVar("AnySection", bound="Section")


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


def check_listen(text: str) -> str:
    """Return "HOST:PORT", ":PORT" or "[IPv6]:PORT" as it is; raise ValueError."""
    split_host_port(text)
    return text


def check_host_port(text: str) -> str:
    """Return "HOST:PORT" that names both as it is; raise ValueError."""
    host, port = split_host_port(text)
    if not host or not port:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:161"')
    return text


def _check_name(text: str) -> str:
    if not text.isprintable() or "/" in text or text.startswith("."):
        raise ValueError('must be printable, without "/" and not begin with "."')
    return text


def _resolve(path: Path, info: ValidationInfo) -> Path:
    if "\0" in str(path) or not str(path).strip() or str(path) == ".":
        raise ValueError("must be a path")
    folder = (info.context or {}).get("folder", Path.cwd())
    return Path(folder, path)


Listen = Annotated[str, AfterValidator(check_listen)]
"""HOST:PORT, ":PORT" (every address) or "[::1]:PORT"."""
HostPort = Annotated[str, AfterValidator(check_host_port)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(allow_inf_nan=False)]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_resolve)]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_check_name)]


# Sections


class Section(BaseModel):
    """A table of a configuration: closed, frozen, strict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


# Files


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


def parse(path: Path) -> dict[str, Any]:
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
        raise ConfigError([f"{path}: not valid: {one_line(error)}"]) from None
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


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a word that resembles one of `known`, else ""."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{found[0]}"?' if found else ""


def validate(
    model: type[AnySection],
    data: Mapping[str, Any],
    path: Path | None,
    origins: Mapping[Location, str] | None = None,
    hint_for_secrets: str = "a secret has no place here: put it into a file of its own",
) -> AnySection:
    """Return `data` as a `model`; raise ConfigError with a line for each problem.

    `path` is the file that it came from, `origins` the flag that a key came from instead.
    """
    folder = Path.cwd() if path is None else path.absolute().parent
    try:
        return model.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        where = "" if path is None else f"{path}: "
        raise ConfigError(
            dict.fromkeys(
                _line(problem, model, where, origins or {}, hint_for_secrets)
                for problem in error.errors(include_url=False)
                if problem["type"] != "default_factory_not_called"
            )
        ) from None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation such as `tuple[Model, ...] | None` names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _tables(model: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    """Return every table below `model` as TOML writes its name: "[web]", "[[hypervisors]]"."""
    found: dict[str, type[BaseModel]] = {}
    for key, info in model.model_fields.items():
        many = "tuple" in str(info.annotation)
        for inner in _models(info.annotation):
            name = f"{prefix}{key}"
            found[f"[[{name}]]" if many else f"[{name}]"] = inner
            found.update(_tables(inner, name + "."))
    return found


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            inner = _models(model.model_fields[part].annotation)
            if inner:
                model = inner[0]
    return model


def _unknown_key(root: type[BaseModel], location: Location, hint_for_secrets: str) -> str:
    """Say of a key that nobody knows what was meant, as far as that can be guessed."""
    key = str(location[-1])
    if any(word in key.lower() for word in SECRET_WORDS):
        return hint_for_secrets
    model = _model_at(root, location[:-1])
    hint = nearest(key, model.model_fields)
    if not hint:
        for table, other in _tables(root).items():
            if other is not model and key in other.model_fields:
                return f"unknown key here; it belongs into {table}"
        if model is not root and key in root.model_fields:
            return "unknown key here; it belongs to the top level"
        hint = "; the known ones are " + ", ".join(model.model_fields)
    return f"unknown key{hint}"


def _line(
    problem: Mapping[str, Any],
    root: type[BaseModel],
    where: str,
    origins: Mapping[Location, str],
    hint_for_secrets: str,
) -> str:
    location: Location = problem["loc"]
    kind: str = problem["type"]
    flag = origins.get(location)
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location)
    prefix = f"{flag}: " if flag else f"{where}{key.removeprefix('.')}: "
    if kind == "extra_forbidden":
        return prefix + _unknown_key(root, location, hint_for_secrets)
    if kind == "value_error":
        return prefix + one_line(problem["ctx"]["error"])
    return prefix + wording(problem)


def wording(problem: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, in our own words."""
    return _WORDING.get(problem["type"], _default_wording)(problem)


def _default_wording(problem: Mapping[str, Any]) -> str:
    message = str(problem["msg"])
    message = message.removeprefix("Input should be ").removeprefix("Value should be ")
    return f"must be {one_line(message)}"


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


def one_line(text: object) -> str:
    """Return a text without its line breaks."""
    return " ".join(str(text).split())


# Credentials of an SNMP agent


class Credentials(Section):
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


def read_credentials(path: Path, version: str) -> Credentials:
    """Read a credentials file for SNMP `version` "2c" or "3"; raise ConfigError without secrets."""
    if path.suffix != ".toml":
        raise ConfigError([f"{path}: the name must end in .toml"])
    try:
        found = Credentials.model_validate(parse(path))
    except ValidationError as error:
        raise ConfigError(
            _credential_line(path, problem) for problem in error.errors(include_url=False)
        ) from None
    if (version == "2c") != (found.community is not None):
        wanted = "community" if version == "2c" else "user"
        raise ConfigError([f"{path}: version {version} needs {wanted}"])
    return found


def _credential_line(path: Path, problem: Mapping[str, Any]) -> str:
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] in {"either", "both"}:
        return f"{path}: {problem['msg']}"
    if problem["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key{nearest(key, Credentials.model_fields)}"
    return f"{path}: {key}: {wording(problem)}"
