"""A stand-in for an ESX host: enough of VMware's SOAP interface for libvirt's ESX driver.

`FakeEsx` serves on a free loopback port from a thread of the test. Its machines are plain objects
to be changed at will; faults are injected by its attributes; `requests` counts what was asked.
No real ESX was at hand when it was written: it answers what libvirt 9 asks, in the shapes of the
vSphere Web Services API reference.
"""

from __future__ import annotations

import threading
import uuid
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XSD = "http://www.w3.org/2001/XMLSchema"
VIM = "urn:vim25"

ON, OFF, SUSPENDED = "poweredOn", "poweredOff", "suspended"


@dataclass
class Machine:
    """A virtual machine of the host."""

    name: str
    power: str = ON
    identity: uuid.UUID = field(default_factory=uuid.uuid4)
    memory_mib: int = 64
    cpus: int = 2
    autostart: bool = False
    status: str = "green"
    """ManagedEntityStatus; libvirt shows no UUID while it is another."""


class _FaultError(Exception):
    """Answered as a SOAP fault."""


class FakeEsx:
    """The host. Use as a context manager."""

    def __init__(self, machines: list[Machine], password: str = "secret") -> None:  # noqa: S107
        self.machines = machines
        self.password = password
        self.session: str | None = None
        self.fault = ""
        """What every request is answered with, as a SOAP fault."""
        self.stalled = threading.Event()
        """While set, requests wait."""
        self.requests: Counter[str] = Counter()
        self.logins = 0
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> FakeEsx:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.resume()
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens, on the loopback address."""
        return self._server.server_port

    @property
    def uri(self) -> str:
        """For libvirt."""
        return f"esx://root@127.0.0.1:{self.port}/?transport=http"

    def auth_file(self, path: Path, password: str | None = None) -> str:
        """Write libvirt's authentication file; return its path."""
        secret = self.password if password is None else password
        path.write_text(
            f"[credentials-fake]\nusername=root\npassword={secret}\n"
            "[auth-esx-127.0.0.1]\ncredentials=fake\n"
        )
        path.chmod(0o600)
        return str(path)

    def expire_session(self) -> None:
        """Forget who is logged in."""
        self.session = None

    def stall(self) -> None:
        """Let requests wait from now on."""
        self._released.clear()
        self.stalled.set()

    def resume(self) -> None:
        """Answer again."""
        self.stalled.clear()
        self._released.set()

    def count(self, action: Callable[[], object]) -> int:
        """How many requests an action makes."""
        before = self.requests.total()
        action()
        return self.requests.total() - before

    # HTTP

    def file(self, path: str) -> str | None:
        """A file of the datastore: a machine's configuration (.vmx)."""
        self._wait("GET")
        stem = unquote(urlsplit(path).path).rpartition("/")[2].removesuffix(".vmx")
        machine = next((one for one in self.machines if one.name == stem), None)
        return None if machine is None else _vmx(machine)

    def call(self, body: bytes) -> tuple[int, bytes]:
        """A SOAP call: status and answer."""
        envelope = ET.fromstring(body)  # noqa: S314 (libvirt's own)
        request = next(iter(envelope.find(f"{{{SOAP}}}Body") or ()))
        method = request.tag.rpartition("}")[2]
        self._wait(method)
        try:
            if self.fault:
                raise _FaultError(self.fault)
            with self._lock:
                answer: Callable[[ET.Element], list[ET.Element]] | None
                answer = getattr(self, f"_do_{method}", None)
                if answer is None:
                    raise _FaultError(f"{method} is not implemented")
                content = answer(request)
        except _FaultError as fault:
            wrong = ET.Element("soapenv:Fault")
            _text(wrong, "faultcode", "ServerFaultCode")
            _text(wrong, "faultstring", str(fault))
            return 500, _envelope(wrong)
        response = ET.Element(f"{method}Response", xmlns=VIM)
        response.extend(content)
        return 200, _envelope(response)

    def _wait(self, method: str) -> None:
        self.requests[method] += 1
        if self.stalled.is_set():
            self._released.wait(60)

    # The interface

    def _do_RetrieveServiceContent(self, _request: ET.Element) -> list[ET.Element]:  # noqa: N802
        content = ET.Element("returnval")
        _reference(content, "rootFolder", "Folder", "root-folder")
        _reference(content, "propertyCollector", "PropertyCollector", "collector")
        about = ET.SubElement(content, "about")
        for key, value in {
            "name": "VMware ESXi",
            "fullName": "VMware ESXi 7.0.3 build-1",
            "vendor": "VMware, Inc.",
            "version": "7.0.3",
            "build": "1",
            "osType": "vmnix-x86",
            "productLineId": "embeddedEsx",
            "apiType": "HostAgent",
            "apiVersion": "7.0.3",
        }.items():
            _text(about, key, value)
        _reference(content, "sessionManager", "SessionManager", "sessions")
        _reference(content, "searchIndex", "SearchIndex", "index")
        return [content]

    def _do_Login(self, request: ET.Element) -> list[ET.Element]:  # noqa: N802
        given = {part.tag.rpartition("}")[2]: part.text for part in request}
        if given.get("userName") != "root" or given.get("password") != self.password:
            raise _FaultError("Cannot complete login due to an incorrect user name or password.")
        self.logins += 1
        self.session = f"session-{self.logins}"
        return [self._session("returnval")]

    def _do_Logout(self, _request: ET.Element) -> list[ET.Element]:  # noqa: N802
        self.session = None
        return []

    def _do_FindByUuid(self, request: ET.Element) -> list[ET.Element]:  # noqa: N802
        wanted = next(part.text for part in request if part.tag.endswith("uuid")) or ""
        found = ET.Element("root")
        for number, machine in enumerate(self.machines):
            if str(machine.identity) == wanted.lower():
                _reference(found, "returnval", "VirtualMachine", _moid(number, machine))
        return list(found)

    def _do_RetrieveProperties(self, request: ET.Element) -> list[ET.Element]:  # noqa: N802
        parts = [part for part in request.iter() if part.tag.rpartition("}")[2] == "pathSet"]
        wanted = [part.text or "" for part in parts]
        kind = next(one.text for one in request.iter() if one.tag.rpartition("}")[2] == "type")
        place = next(one for one in request.iter() if one.tag.rpartition("}")[2] == "obj")
        objects = self._objects(kind or "", place.get("type", ""), place.text or "")
        found = []
        for identity, properties in objects:
            value = ET.Element("returnval")
            _reference(value, "obj", kind or "", identity)
            for name in wanted:
                if name in properties:
                    entry = ET.SubElement(value, "propSet")
                    _text(entry, "name", name)
                    entry.append(properties[name])
            found.append(value)
        return found

    def _objects(
        self, kind: str, place: str, place_id: str
    ) -> list[tuple[str, dict[str, ET.Element]]]:
        if kind == "VirtualMachine":
            return [
                (_moid(number, machine), _machine_properties(machine))
                for number, machine in enumerate(self.machines)
                if place != "VirtualMachine" or _moid(number, machine) == place_id
            ]
        if kind == "SessionManager":
            here = {} if self.session is None else {"currentSession": self._session("val", True)}
            return [("sessions", here)]
        if kind == "HostAutoStartManager":
            return [("autostart", {
                "config.defaults": _autostart_defaults(),
                "config.powerInfo": self._power_info(),
            })]  # fmt: skip
        return _FIXED.get(kind, [])

    def _session(self, tag: str, typed: bool = False) -> ET.Element:
        element = ET.Element(tag, {"xsi:type": "UserSession"} if typed else {})
        for key, value in {
            "key": self.session or "",
            "userName": "root",
            "fullName": "root",
            "loginTime": "2024-01-01T00:00:00Z",
            "lastActiveTime": "2024-01-01T00:00:00Z",
            "locale": "en",
            "messageLocale": "en",
        }.items():
            _text(element, key, value)
        return element

    def _power_info(self) -> ET.Element:
        value = ET.Element("val", {"xsi:type": "ArrayOfAutoStartPowerInfo"})
        for number, machine in enumerate(self.machines):
            entry = ET.SubElement(value, "AutoStartPowerInfo", {"xsi:type": "AutoStartPowerInfo"})
            _reference(entry, "key", "VirtualMachine", _moid(number, machine))
            for key, text in {
                "startOrder": "1",
                "startDelay": "-1",
                "waitForHeartbeat": "systemDefault",
                "startAction": "powerOn" if machine.autostart else "none",
                "stopDelay": "-1",
                "stopAction": "systemDefault",
            }.items():
                _text(entry, key, text)
        return value


def _handler(host: FakeEsx) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # a whole answer in one segment

        def do_GET(self) -> None:
            text = host.file(self.path)
            self._answer(404 if text is None else 200, (text or "").encode(), "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = host.call(body)
            self._answer(status, answer, "text/xml; charset=utf-8")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
            except OSError:
                self.close_connection = True  # who asked is gone

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


# XML


def _envelope(content: ET.Element) -> bytes:
    envelope = ET.Element(
        "soapenv:Envelope", {"xmlns:soapenv": SOAP, "xmlns:xsd": XSD, "xmlns:xsi": XSI}
    )
    ET.SubElement(envelope, "soapenv:Body").append(content)
    return ET.tostring(envelope, encoding="utf-8", xml_declaration=True)


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _reference(parent: ET.Element, tag: str, kind: str, identity: str) -> None:
    ET.SubElement(parent, tag, {"type": kind}).text = identity


def _value(kind: str, text: object) -> ET.Element:
    element = ET.Element("val", {"xsi:type": kind})
    element.text = str(text)
    return element


def _typed_reference(kind: str, identity: str) -> ET.Element:
    element = ET.Element("val", {"xsi:type": "ManagedObjectReference", "type": kind})
    element.text = identity
    return element


def _moid(_number: int, machine: Machine) -> str:
    """The host's own number of a machine, which libvirt takes for its ID."""
    return str(1 + machine.identity.int % 1_000_000)


def _machine_properties(machine: Machine) -> dict[str, ET.Element]:
    return {
        "name": _value("xsd:string", machine.name),
        "configStatus": _value("ManagedEntityStatus", machine.status),
        "config.uuid": _value("xsd:string", machine.identity),
        "runtime.powerState": _value("VirtualMachinePowerState", machine.power),
        "config.hardware.memoryMB": _value("xsd:int", machine.memory_mib),
        "config.hardware.numCPU": _value("xsd:int", machine.cpus),
        "config.memoryAllocation.limit": _value("xsd:long", -1),
        "config.files.vmPathName": _value(
            "xsd:string", f"[store] {machine.name}/{machine.name}.vmx"
        ),
    }


def _autostart_defaults() -> ET.Element:
    value = ET.Element("val", {"xsi:type": "AutoStartDefaults"})
    _text(value, "enabled", "true")
    return value


def _config_manager() -> ET.Element:
    value = ET.Element("val", {"xsi:type": "HostConfigManager"})
    _reference(value, "autoStartManager", "HostAutoStartManager", "autostart")
    return value


def _cpu_features() -> ET.Element:
    value = ET.Element("val", {"xsi:type": "ArrayOfHostCpuIdInfo"})
    entry = ET.SubElement(value, "HostCpuIdInfo", {"xsi:type": "HostCpuIdInfo"})
    nothing = ":".join(["----"] * 8)
    _text(entry, "level", "-2147483647")
    for register in ("eax", "ebx", "ecx"):
        _text(entry, register, nothing)
    _text(entry, "edx", "--1-:" + ":".join(["----"] * 7))  # long mode
    return value


def _hosts() -> ET.Element:
    value = ET.Element("val", {"xsi:type": "ArrayOfManagedObjectReference"})
    ET.SubElement(
        value,
        "ManagedObjectReference",
        {"xsi:type": "ManagedObjectReference", "type": "HostSystem"},
    ).text = "host"
    return value


def _mounts() -> ET.Element:
    value = ET.Element("val", {"xsi:type": "ArrayOfDatastoreHostMount"})
    entry = ET.SubElement(value, "DatastoreHostMount", {"xsi:type": "DatastoreHostMount"})
    _reference(entry, "key", "HostSystem", "host")
    info = ET.SubElement(entry, "mountInfo")
    _text(info, "path", "/vmfs/volumes/store")
    _text(info, "accessMode", "readWrite")
    _text(info, "accessible", "true")
    return value


_FIXED: dict[str, list[tuple[str, dict[str, ET.Element]]]] = {
    "Datacenter": [("datacenter", {
        "name": _value("xsd:string", "datacenter"),
        "hostFolder": _typed_reference("Folder", "host-folder"),
        "vmFolder": _typed_reference("Folder", "vm-folder"),
    })],
    "ComputeResource": [("compute", {
        "name": _value("xsd:string", "compute"),
        "host": _hosts(),
        "resourcePool": _typed_reference("ResourcePool", "pool"),
    })],
    "HostSystem": [("host", {
        "name": _value("xsd:string", "esx.example"),
        "configManager": _config_manager(),
        "runtime.inMaintenanceMode": _value("xsd:boolean", "false"),
        "hardware.systemInfo.uuid": _value("xsd:string", "6b1d3a52-7a11-4f0c-8f5a-5f0d8a2b7c01"),
        "hardware.cpuFeature": _cpu_features(),
        "config.network.dnsConfig.hostName": _value("xsd:string", "esx"),
        "config.network.dnsConfig.domainName": _value("xsd:string", "example"),
        "capability.maxSupportedVcpus": _value("xsd:int", 128),
        "hardware.cpuInfo.hz": _value("xsd:long", 2_000_000_000),
        "hardware.cpuInfo.numCpuCores": _value("xsd:short", 4),
        "hardware.cpuInfo.numCpuPackages": _value("xsd:short", 1),
        "hardware.cpuInfo.numCpuThreads": _value("xsd:short", 4),
        "hardware.memorySize": _value("xsd:long", 8 << 30),
        "hardware.numaInfo.numNodes": _value("xsd:int", 1),
        "summary.hardware.cpuModel": _value("xsd:string", "A CPU"),
    })],
    "Datastore": [("store", {
        "summary.name": _value("xsd:string", "store"),
        "host": _mounts(),
    })],
}  # fmt: skip


def _vmx(machine: Machine) -> str:
    """A machine's configuration file."""
    octets = machine.identity.bytes.hex(" ")
    settings = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": "13",
        "displayName": machine.name,
        "guestOS": "debian11-64",
        "uuid.bios": f"{octets[:23]}-{octets[24:]}",
        "memSize": machine.memory_mib,
        "numvcpus": machine.cpus,
        # One CPU per vCPU at least, or libvirt refuses the file
        "sched.cpu.affinity": ",".join(str(cpu) for cpu in range(max(2, machine.cpus))),
        "sched.mem.minsize": "32",
        "scsi0.present": "TRUE",
        "scsi0.virtualDev": "pvscsi",
        "scsi0:0.present": "TRUE",
        "scsi0:0.deviceType": "scsi-hardDisk",
        "scsi0:0.fileName": f"{machine.name}.vmdk",
        "ethernet0.present": "TRUE",
        "ethernet0.virtualDev": "vmxnet3",
        "ethernet0.connectionType": "bridged",
        "ethernet0.networkName": "VM Network",
        "ethernet0.addressType": "generated",
        "ethernet0.generatedAddress": "00:0c:29:12:34:56",
    }
    return "".join(f'{key} = "{value}"\n' for key, value in settings.items())
