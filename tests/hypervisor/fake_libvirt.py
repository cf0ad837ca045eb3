"""A libvirt connection whose every answer a test decides: races and failures on demand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import libvirt

from vmmib.hypervisor.messages import Batch, Changed, Message, Refreshed, Removed
from vmmib.hypervisor.model import OperState, Vm


def error(code: int, text: str = "made up") -> libvirt.libvirtError:
    """A libvirtError with a code."""
    made = libvirt.libvirtError(text)
    made.err = (code, 0, text, 2, "", "", "", 0, 0)
    return made


class FakeDomain:
    """A domain; `state_` is (state, reason), an exception is raised instead."""

    def __init__(self, name: str, connection: FakeConnection) -> None:
        self.name_ = name
        self.connection = connection
        self.uuid_ = uuid.uuid5(uuid.NAMESPACE_URL, name).bytes
        self.state_: tuple[int, int] | Exception = (1, 1)
        self.persistent = True
        self.autostarts = False
        self.managed = False
        self.xml = "<domain><vcpu>1</vcpu><memory>1024</memory></domain>"
        self.before_state: Callable[[], None] | None = None
        """Called once while the state is being read."""
        self.calls: list[str] = []

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self not in self.connection.domains:
            raise error(libvirt.VIR_ERR_NO_DOMAIN)

    def UUID(self) -> bytes:  # noqa: N802
        return self.uuid_

    def ID(self) -> int:  # noqa: N802
        return -1 if isinstance(self.state_, tuple) and self.state_[0] == 5 else 1

    def name(self) -> str:
        return self.name_

    def state(self) -> list[int]:
        self._note("state")
        now = self.state_
        hook, self.before_state = self.before_state, None
        if hook is not None:
            hook()
        if isinstance(now, Exception):
            raise now
        return list(now)

    def info(self) -> list[int]:
        self._note("info")
        assert isinstance(self.state_, tuple)
        return [self.state_[0], 1024, 1024, 1, 5_000_000]

    def isActive(self) -> int:  # noqa: N802
        return int(self.ID() != -1)

    def autostart(self) -> int:
        self._note("autostart")
        return int(self.autostarts)

    def isPersistent(self) -> int:  # noqa: N802
        return int(self.persistent)

    def hasManagedSaveImage(self) -> int:  # noqa: N802
        self._note("hasManagedSaveImage")
        return int(self.managed)

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        self._note("XMLDesc")
        return self.xml

    def vcpus(self) -> Any:
        raise error(libvirt.VIR_ERR_NO_SUPPORT)

    vcpuPinInfo = blockStats = interfaceStats = blockInfo = jobStats = vcpus  # noqa: N815


class FakeConnection:
    """A connection of a driver without bulk statistics, with lifecycle events."""

    def __init__(self, driver: str = "FAKE", eventful: bool = True) -> None:
        self.driver = driver
        self.eventful = eventful
        self.domains: list[FakeDomain] = []
        self.callbacks: dict[int, tuple[Any, Any]] = {}
        self.fails: Exception | None = None
        self.lists = True
        self.closed = False

    def add(self, name: str) -> FakeDomain:
        dom = FakeDomain(name, self)
        self.domains.append(dom)
        return dom

    def fire(self, dom: FakeDomain, event: int, detail: int = 0) -> None:
        """Deliver a lifecycle event."""
        callback, opaque = self.callbacks[0]
        callback(self, dom, event, detail, opaque)

    def fire_other(self, dom: FakeDomain, number: int, *rest: Any) -> None:
        """Deliver another event."""
        callback, opaque = self.callbacks[number]
        callback(self, dom, *rest, opaque)

    def getType(self) -> str:  # noqa: N802
        return self.driver

    def isAlive(self) -> int:  # noqa: N802
        return int(self.fails is None)

    def listAllDomains(self, flags: int = 0) -> list[FakeDomain]:  # noqa: N802
        if self.fails is not None:
            raise self.fails
        if flags and not self.lists:
            raise error(libvirt.VIR_ERR_INVALID_ARG)
        tests: dict[int, Callable[[FakeDomain], bool]] = {
            0: lambda _: True,
            libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART: lambda dom: dom.autostarts,
            libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT: lambda dom: not dom.persistent,
            libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE: lambda dom: dom.managed,
        }
        return [dom for dom in self.domains if tests[flags](dom)]

    def domainListGetStats(self, *_: Any) -> Any:  # noqa: N802
        raise error(libvirt.VIR_ERR_NO_SUPPORT)

    def domainEventRegisterAny(  # noqa: N802
        self, _dom: None, number: int, callback: Any, opaque: Any
    ) -> int:
        if not self.eventful:
            raise error(libvirt.VIR_ERR_NO_SUPPORT)
        self.callbacks[number] = (callback, opaque)
        return number

    def domainEventDeregisterAny(self, number: int) -> None:  # noqa: N802
        del self.callbacks[number]

    def registerCloseCallback(self, callback: Any, opaque: Any) -> None:  # noqa: N802
        self.callbacks[-1] = (callback, opaque)

    def unregisterCloseCallback(self) -> None:  # noqa: N802
        del self.callbacks[-1]

    def lose(self, reason: int = 2) -> None:
        """Tell that the connection is lost."""
        callback, opaque = self.callbacks[-1]
        callback(self, reason, opaque)

    def close(self) -> None:
        self.closed = True

    def getVersion(self) -> int:  # noqa: N802
        return 7_002_001

    def getHostname(self) -> str:  # noqa: N802
        return "host"

    def getCPUMap(self) -> tuple[int, list[bool], int]:  # noqa: N802
        return 2, [True, True], 2

    def getCapabilities(self) -> str:  # noqa: N802
        return "<capabilities/>"

    def listAllStoragePools(self, _flags: int) -> list[Any]:  # noqa: N802
        return []


class Story:
    """What a source told, as a parent would take it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.vms: dict[str, Vm] = {}
        self.states: list[tuple[str, OperState | None]] = []
        """Names and states in the order in which a change was told; None: gone."""
        self._open: dict[str, Vm] = {}

    def __call__(self, message: Message) -> None:
        """Take a message."""
        self.messages.append(message)
        if isinstance(message, Batch):
            self._open.update((vm.key, vm) for vm in message.vms)
        elif isinstance(message, Refreshed):
            if message.complete:
                for key in set(self.vms) - set(self._open):
                    self._drop(key)
            for vm in self._open.values():
                self._show(vm)
            self._open.clear()
            for key in message.removed:
                self._drop(key)
        elif isinstance(message, Changed):
            self._open.pop(message.vm.key, None)
            self._show(message.vm)
        elif isinstance(message, Removed):
            self._open.pop(message.key, None)
            self._drop(message.key)

    def _show(self, vm: Vm) -> None:
        before = self.vms.get(vm.key)
        self.vms[vm.key] = vm
        if before is None or before.oper is not vm.oper:
            self.states.append((vm.name, vm.oper))

    def _drop(self, key: str) -> None:
        vm = self.vms.pop(key, None)
        if vm is not None:
            self.states.append((vm.name, None))

    def vm(self, name: str) -> Vm:
        """The VM of a name, as told last."""
        return next(vm for vm in self.vms.values() if vm.name == name)

    def take(self) -> list[OperState | None]:
        """The states told since the last call."""
        told = [state for _, state in self.states]
        self.states.clear()
        return told
