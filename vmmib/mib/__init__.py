"""From the model of a hypervisor to VM-MIB (RFC 7666). No libvirt and no sockets in here."""
