"""The errors of the syslog analysis that a user can mend."""


class SyslogError(Exception):
    """It cannot go on; the text says why and what to do, one line for each reason."""
