"""A fleet's counts, made from a seed without lines: ordinary days, and what a test adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from triage.syslog.tables import COUNTS, Corpus, Group, Template, content_id

DAY = 1440
START = 1_440 * 16_700  # a Monday's midnight, in minutes

ORDINARY = (
    "CRON[**]: (root) CMD (**)",
    "CRON[**]: pam_unix(cron:session): session opened for user **",
    "dhcpd: DHCPREQUEST for ** from **",
    "dhcpd: DHCPACK on ** to **",
    "named[**]: client **: view world: query",
    "nfcapd[**]: Process_v9: Found options flowset: template **",
    "libvirtd[**]: monitor event **",
    "ntpd[**]: adjusting local clock by **",
    "snmpd[**]: Connection from UDP: **",
    "postfix/qmgr[**]: **: removed",
    "sshd[**]: Accepted publickey for ** from **",
    "sshd[**]: session opened for user **",
    "kernel: device ** entered promiscuous mode",
    "smartd[**]: Device: **, temperature changed",
    "dbus-daemon[**]: activating service **",
)
ODD = tuple(
    f"oddd[**]: {word} was seen once" for word in ["lorem", "ipsum", "dolor", "sit", "amet"]
)
ODD_TROUBLE = (
    "kernel: EDAC MC0: 1 CE memory read error on **",
    "named[**]: error (unexpected RCODE **) resolving **",
    "dhcpd: send_packet: Network is unreachable",
    "libvirtd[**]: internal error: End of file from monitor",
)
BOOT = (
    "kernel: Linux version **",
    "kernel: Command line: **",
    *(
        f"kernel: {part}: initialised"
        for part in ["ACPI", "PCI", "CPU0", "ata1", "sda", "eth0", "ext4", "kvm"]
    ),
    "systemd[**]: Startup finished in **s (kernel) + **s (userspace)",
)
STOP = (
    "systemd[**]: Reached target Shutdown.",
    "libvirtd[**]: stopping all domains",
    "rsyslogd: exiting on signal 15",
)
LINK = (
    "kernel: ixgbe ** eth0: NIC Link is Down",
    "kernel: ixgbe ** eth0: NIC Link is Up",
    "bgpd[**]: neighbour ** connection lost",
    "keepalived[**]: VRRP_Instance(**) lost contact with peer",
    "iscsid[**]: connection timed out",
)
STORAGE = (
    "kernel: nfs: server ** not responding, still trying",
    "kernel: INFO: task ** blocked for more than 120 seconds.",
    "kernel: nfs: server ** OK",
    "libvirtd[**]: disk I/O error on domain **",
    "multipathd[**]: path ** failed",
)
UPGRADE = (
    "dpkg[**]: status installed **",
    "dpkg[**]: upgrade ** **",
    "systemd[**]: Reloading.",
    "systemd[**]: Stopping **",
    "systemd[**]: Started **",
    "snmpd[**]: Received TERM signal: shutting down",
    "libvirtd[**]: libvirt version: **",
    "needrestart: restarting **",
)
SCAN = (
    "sshd[**]: Invalid user ** from **",
    "sshd[**]: Failed password for invalid user ** from **",
    "sshd[**]: refused connect from ** (**)",
    "sshd[**]: Connection closed by ** [preauth]",
)
NEW = tuple(f"agentd[**]: {word} report sent" for word in ["alpha", "beta", "gamma", "delta"])
TEXTS = (
    *ORDINARY, *ODD, *ODD_TROUBLE, *BOOT, *STOP, *LINK, *STORAGE, *UPGRADE, *SCAN, *NEW
)  # fmt: skip


@dataclass
class FleetMaker:
    """Collects (minute, host, text, count)."""

    hosts: Sequence[str]
    days: int
    seed: int = 1
    rows: list[tuple[int, int, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def at(self, day: float) -> int:
        """The minute of a day, as 3.5."""
        return START + round(day * DAY)

    def ordinary(self, rate: float = 1.0) -> FleetMaker:
        """Cron every 5 minutes, chains, a load by the hour, odd lines now and then."""
        minutes = np.arange(START, START + self.days * DAY)
        load = 1.0 + 0.6 * np.sin((minutes % DAY) / DAY * 2 * np.pi - 2)
        for number in range(len(self.hosts)):
            for minute in minutes[minutes % 5 == number % 5]:
                self.put(minute, number, ORDINARY[0])
                self.put(minute, number, ORDINARY[1])
            for index, text in enumerate(ORDINARY[2:], start=2):
                chance = rate * load * (0.2 if index % 3 else 0.03)
                came = minutes[self.random.random(minutes.size) < chance]
                for minute in came:
                    self.put(minute, number, text)
                    if index % 2 == 0 and self.random.random() < 0.8:
                        self.put(minute, number, ORDINARY[min(index + 1, len(ORDINARY) - 1)])
            for text in (*ODD, *ODD_TROUBLE):
                for minute in minutes[self.random.random(minutes.size) < 0.15 / DAY]:
                    self.put(minute, number, text)
        return self

    def put(self, minute: int, host: int, text: str, count: int = 1) -> None:
        """Add lines."""
        self.rows.append((int(minute), host, text, count))

    def away(self, host: int, start: int, end: int) -> None:
        """No lines in [start, end)."""
        self.rows = [r for r in self.rows if r[1] != host or not start <= r[0] < end]

    def boot(self, host: int, minute: int) -> None:
        for place, text in enumerate(BOOT):
            self.put(minute + place // 4, host, text, 3)

    def power(self, hosts: Iterable[int], start: int, minutes: int) -> None:
        """Gone at once, back with a boot."""
        for host in hosts:
            self.away(host, start, start + minutes)
            self.boot(host, start + minutes)

    def planned(self, hosts: Iterable[int], start: int, minutes: int) -> None:
        for host in hosts:
            for text in STOP:
                self.put(start - 1, host, text)
        self.power(hosts, start, minutes)

    def link(self, hosts: Iterable[int], start: int, minutes: int) -> None:
        for host in hosts:
            for minute in range(start, start + minutes, 4):
                for place, text in enumerate(LINK):
                    self.put(minute + place // 2, host, text)

    def storage(self, hosts: Iterable[int], start: int, minutes: int) -> None:
        for host in hosts:
            for minute in range(start, start + minutes):
                for text in STORAGE:
                    if self.random.random() < 0.4:
                        self.put(minute, host, text, 2)

    def upgrade(self, start: int, apart: int) -> None:
        """All hosts, so many minutes apart."""
        for host in range(len(self.hosts)):
            for place in range(12):
                for text in UPGRADE:
                    if self.random.random() < 0.7:
                        self.put(start + host * apart + place, host, text, 2)

    def scan(self, hosts: Iterable[int], start: int, minutes: int) -> None:
        for host in hosts:
            for minute in range(start, start + minutes):
                for text in SCAN:
                    self.put(minute, host, text, int(self.random.integers(1, 30)))

    def new_software(self, start: int) -> None:
        """From then on, on all hosts."""
        for host in range(len(self.hosts)):
            for minute in range(start, START + self.days * DAY, 7):
                for text in NEW:
                    if self.random.random() < 0.5:
                        self.put(minute, host, text)

    def corpus(self) -> Corpus:
        """All of it as a corpus; each template is a group of its own."""
        templates = sorted((Template(id=content_id(t), text=t) for t in TEXTS), key=lambda t: t.id)
        index = {template.text: number for number, template in enumerate(templates)}
        frame = pl.DataFrame(
            {
                "minute": [row[0] for row in self.rows],
                "host": [row[1] for row in self.rows],
                "template": [index[row[2]] for row in self.rows],
                "count": [row[3] for row in self.rows],
            },
            schema=dict(COUNTS),
        )
        counts = (
            frame.group_by("minute", "host", "template")
            .agg(pl.col("count").sum())
            .sort("minute", "host", "template")
            .cast(dict(COUNTS))
        )
        groups = tuple(Group(id=t.id, templates=(t.id,), label=t.text) for t in templates)
        minutes = counts["minute"]
        return Corpus(
            counts=counts.select(list(COUNTS)),
            hosts=tuple(self.hosts),
            templates=tuple(templates),
            group_of=tuple(range(len(templates))),
            groups=groups,
            site_of=tuple(host.partition(".")[2] or "all" for host in self.hosts),
            start=(minutes.min() or 0) * 60.0,
            end=((minutes.max() or 0) + 1) * 60.0,
        )


def names(sites: int, each: int) -> tuple[str, ...]:
    """Hosts' names, sorted."""
    return tuple(sorted(f"s{s}hv{n}.site{s}.example" for s in range(sites) for n in range(each)))
