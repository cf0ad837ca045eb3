"""AgentX (RFC 2741), the subagent's side: oid, pdu, session, view, transaction, connection.

Nothing in here knows of libvirt or of VM-MIB. oid, pdu, view, transaction and session do no I/O
and read no clock; connection holds the only socket.
"""
