"""What a template's constant words tell of it: trouble, strangers, operators, booting, stopping.

Rules
- All words that detection knows stand here, as one table; they are English words of operating
  systems' logs, not of one program's version. Everything else is learnt from the counts.
- Strangers before trouble: "authentication failure" is a scanner's trouble, not the host's.
- Words never make an outage by themselves: they tell which of the unusual windows are one
  (`decide`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from triage.applog.score import STARTING, STOPPING, text_score
from triage.syslog.tables import WILDCARD, Template

TROUBLE = 0.35
"""A template with at least this weight speaks of trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a template's words say."""

    program: str = ""
    """"sshd" of "sshd[**]: ..."."""
    trouble: bool = False
    """Something failed, is away, is late."""
    stranger: bool = False
    """Somebody from outside was refused."""
    change: bool = False
    """Software or its configuration was changed, by people or by their tools."""
    boot: bool = False
    """A machine begins to run."""
    stop: bool = False
    """A machine, or all of its services, stops in order."""


def _any(*forms: str) -> re.Pattern[str]:
    return re.compile("|".join(forms), re.IGNORECASE)


_STRANGER = _any(
    r"\b(?:invalid|illegal|unknown) user\b|\buser unknown\b|\bfailed (?:password|publickey|none)\b",
    r"\bauthenticat\w+ (?:failures?|error)\b|\bfailed login\b|\blogin (?:failed|incorrect)\b",
    r"\brefused connect\b|\bpreauth\b|\bpossible break-?in\b|\bbad protocol version\b",
    r"\bdid(?:n't| not) receive identification\b|\bnot receive identification\b"
    r"|\bno matching (?:key|cipher|host|mac)\b|\bcheck pass\b|\bmaximum authentication\b",
    r"\bcan'?t verify hostname\b|\breverse mapping\b|\bquery\b.*\bdenied\b|\bbanner exchange\b",
    r"\b(?:ufw|iptables|firewall)\b.*\b(?:block|drop|reject|deny)|\bIN=\S* OUT=|\bport ?scan\b"
    r"|\bpossible syn flooding\b|\bfail2ban\b|\bbanned?\b",
    r"\buser \S+ from \S+ not allowed\b|\brelay access denied\b|\bconnection (?:closed|reset) by "
    r"(?:authenticating|invalid|remote)\b",
)
_CHANGE = _any(
    r"\b(?:dpkg|apt|apt-get|aptd?|yum|dnf|rpm|zypper|packagekitd?|unattended-upgrades?|snapd"
    r"|needrestart|ansible\S*|puppet\S*|chef-client|salt-minion|cf-agent)\b",
    r"\b(?:upgrad(?:e|ed|ing)|unpacking|install(?:ed|ing)?|reinstalled|deploy(?:ed|ing|ment)?"
    r"|roll-?out)\b",
    r"\breload(?:ing|ed)?\b|\breexecut|\bdaemon-reload\b|\bconfiguration (?:changed|applied)\b"
    r"|\breread\b|\bcrontab\b|\breplace\b",
)
_BOOT = _any(
    r"\b(?:system|kernel|vmkernel) boot(?:ing|ed)\b",
    r"\bLinux version\b|\bcommand line:|\bBIOS-provided\b|\bbooting (?:linux|paravirt|node|smp)"
    r"|\bBIOS-e820\b|\bDMI(?: \S+ present)?:|\bUnpacking initramfs\b|\bFreeing unused kernel\b",
    r"\bstartup finished in\b.*\bkernel\b|\bdetected (?:virtualization|architecture)\b"
    r"|\bCalibrating delay loop\b|\bCopyright \(c\) .* The FreeBSD Project\b"
    r"|\bkmsg started\b|\bInitializing cgroup subsys\b|\bMemory: \S+ available\b",
)
_STOP = _any(
    r"\breached target (?:system )?(?:shutdown|power-?off|reboot|final step)\b"
    r"|\bsystem is (?:going down|powering|rebooting|halt)\b|\bsystemd-shutdown\b",
    r"\bshutting down (?:for|the system)\b|\bshutdown:|\bpower (?:key|button) pressed\b"
    r"|\bexiting on signal 15\b|\bpowering (?:off|down)\b|\bkernel: (?:reboot|Power down)",
    r"\bterminating on signal\b|\bkernel logging \(proc\) stopped\b"
    r"|\bswitching to runlevel: ?[06]\b",
)
_TROUBLE = _any(
    r"\blink(?: is)? (?:is )?(?:not ready|down)\b|\b(?:carrier|heartbeat|quorum|contact|lease"
    r"|connection|connectivity|peer|path|neighbou?r|session|sync\w*) (?:was )?(?:lost|down"
    r"|failed|expired)\b|\b(?:lost|losing|no|broken) (?:carrier|heartbeat|quorum|contact|connection"
    r"|connectivity|path|link|route)\b",
    r"\bnot respond\w*|\bnot reachable\b|\bunreachable\b|\bno (?:response|reply|answer|buffer"
    r"|space|route)\b|\bstill trying\b|\bunresponsive\b|\bnot available\b|\binaccessible\b",
    r"\bblocked for more than\b|\bhung\b|\bhang\b|\bstall(?:s|ed|ing)?\b|\bsoft lockup\b"
    r"|\block-?up\b|\bwatchdog\b.*\b(?:bug|expired|timeout)\b|\bcall trace\b|\boops\b|\bpanic\b",
    r"\bi/o errors?\b|\bI/O error\b|\bmedium error\b|\bsense key\b|\bread-only\b|\bremounting\b"
    r"|\bdegraded\b|\boffline(?:d)?\b|\baborting\b|\babort(?:ed)?\b|\btask abort\b",
    r"\btim(?:ed|e|ing)[ -]?outs?\b|\btimed out\b|\bexpired\b|\bmissed\b|\bfail(?:s|ed|ure|ures"
    r"|ing|over)?\b|\berrors?\b|\bcritical\b|\bfatal\b|\bemerg(?:ency)?\b|\balert\b"
    r"|\bdown\b|\bdead\b|\bdied\b|\bfenc(?:ed|ing)\b|\bpower (?:fail\w*|loss|lost)\b|\bon battery\b"
    r"|\bunable to\b|\bcan(?:not|'t)\b|\bcould not\b|\bcorrupt\w*|\bslow\b|\bdelayed\b|\bdropped\b"
    r"|\blost\b|\breset(?:ting)?\b|\bflap\w*|\boverheat\w*|\btemperature above\b|\bmce\b"
    r"|\bmachine check\b|\bout of memory\b|\bkilled process\b|\bsegfault\b|\breconnect\w*"
    r"|\brecover(?:y|ing|ed)\b|\bunclean\b|\borphan\b|\bdisconnected\b|\bunavailable\b",
)
_NONE = re.compile(
    r"/\S+|\b(?:0|no|zero|without|any) (?:\w+ )?(?:errors?|failures?|failed)\b"
    r"|\berrors?\s?[=:]\s?(?:0|none)\b|\b0 (?:lost|failed|dropped|corrupt\w*)\b"
    r"|\b(?:errors?|failed|lost|dropped)[=:]? ?0\b|\bfail(?:2ban|-?safe|over)\b"
    r"|\b\w+-(?:errors?|failed|failure|failover)\b|\b(?:error|failure)-\w+",
    re.IGNORECASE,
)
_PROGRAM = re.compile(r"\A([^\s:\[(]{1,64})")


def traits_of(template: Template) -> Traits:
    """Return what a template's text says."""
    text = template.text[:1000]
    match = _PROGRAM.match(text)
    program = match[1].rstrip("0123456789*/.-_").lower() if match else ""
    said = text.replace(WILDCARD, "x")
    body = _NONE.sub(" ", said)
    stranger = _STRANGER.search(said) is not None
    boot = _BOOT.search(said) is not None
    stop = _STOP.search(said) is not None
    return Traits(
        program=program,
        stranger=stranger,
        boot=boot,
        stop=stop,
        change=_CHANGE.search(text) is not None,
        trouble=not (stranger or boot or stop) and _speaks_of_trouble(body),
    )


def _speaks_of_trouble(text: str) -> bool:
    score = text_score(text)
    lifecycle = score.lasting and score.value in (STOPPING, STARTING)
    return (score.value >= TROUBLE and not lifecycle) or _TROUBLE.search(text) is not None


def all_traits(templates: Iterable[Template]) -> tuple[Traits, ...]:
    """Return the traits of templates, in their order."""
    return tuple(traits_of(template) for template in templates)
