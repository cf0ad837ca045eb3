"""A libvirt test-driver node of any number of domains, over every run state.

libvirt's test driver reads a node from a file (test:///FILE) and keeps it in the memory of the
process that opened it: a hypervisor without machines, the same on every host.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

# virDomainState, and what else the test driver can be told of a domain
_STATES = (
    (1, ""),
    (1, ""),
    (2, ""),
    (3, ""),
    (4, ""),
    (5, ""),
    (5, "<test:hasmanagedsave/>"),
    (6, ""),
    (7, ""),
    (1, "<test:transient/>"),
)

_DOMAIN = """\
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
 <name>bench-{number:05d}</name><uuid>{uuid}</uuid>
 <memory unit='MiB'>{memory}</memory><currentMemory unit='MiB'>512</currentMemory>
 <memtune><min_guarantee unit='MiB'>256</min_guarantee></memtune>
 <vcpu current='{online}'>{cpus}</vcpu>
 <cputune><vcpupin vcpu='0' cpuset='0'/></cputune>
 <os><type>hvm</type></os>
 <devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
   <source file='/srv/images/{number}.qcow2'/><target dev='vda' bus='virtio'/></disk>
  <disk type='block' device='disk'><driver name='qemu' type='raw'/>
   <source dev='/dev/guests/{number}'/><target dev='vdb' bus='virtio'/></disk>
  <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
  <interface type='bridge'><mac address='52:54:00:{mac}'/><source bridge='br0'/>
   <model type='virtio'/></interface>
 </devices>
 {state}
</domain>"""


def domains(count: int, for_file: bool = True) -> Iterator[str]:
    """XML of `count` domains; for a file with their states, which defineXML() does not take."""
    for number in range(count):
        state, more = _STATES[number % len(_STATES)]
        cpus = 2 + number % 3
        yield _DOMAIN.format(
            number=number,
            uuid=uuid.uuid5(uuid.NAMESPACE_URL, f"bench:{number}"),
            memory=1024 + number,
            cpus=cpus,
            online=cpus - number % 2,
            mac=":".join(f"{octet:02x}" for octet in number.to_bytes(3, "big")),
            state=f"<test:runstate>{state}</test:runstate>{more}" if for_file else "",
        )


def write(path: Path, count: int) -> None:
    """Write a node of `count` domains."""
    path.write_text("<node>\n" + "\n".join(domains(count)) + "\n</node>\n")
