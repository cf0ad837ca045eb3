"""The commands `triage syslog ...`.

    triage syslog report FOLDER     what was abnormal, when, where, and the lines: one HTML page
    triage syslog mine FOLDER       read what is new; --follow goes on
    triage syslog templates         kinds of line, with counts, hosts, examples
    triage syslog groups            templates whose texts are alike
    triage syslog intervals         how often each comes, its period, its bursts
    triage syslog graph             causal graphs; --around TEMPLATE
    triage syslog model             freeze, thaw, edit the templates; their versions
    triage syslog simulate FOLDER   a fleet's logs from a seed, with the truth beside them
    triage syslog score REPORT TRUTH  how right the findings are

Every command that takes logs keeps what it read in a store, and reads only what is new the next
time. Imports of what a command needs are inside of it: `triage --help` loads no Polars.
"""

from triage.syslog.cli import fleet, model
from triage.syslog.cli.commands import syslog

__all__ = ["fleet", "model", "syslog"]
