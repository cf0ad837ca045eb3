"""vmmib: RFC 7666 (VM-MIB) for net-snmp's snmpd, from libvirt, through AgentX."""

__version__ = "0.1.0"
