"""What runs on the host, as plain data, and the ways to learn it. No SNMP in here."""
