"""SNMP as triage needs it: asking and being notified, by pysnmp, and what the values mean."""
