"""Templates of log lines: learnt from keys, kept with stable ids, frozen and edited."""

from triage.syslog.templates.files import load_model, read_edits, save_model
from triage.syslog.templates.keys import KEY_CHARACTERS, key_of
from triage.syslog.templates.mining import MinerSettings
from triage.syslog.templates.model import Change, Edits, Merge, ModelError, TemplateModel

__all__ = [
    "KEY_CHARACTERS",
    "Change",
    "Edits",
    "Merge",
    "MinerSettings",
    "ModelError",
    "TemplateModel",
    "key_of",
    "load_model",
    "read_edits",
    "save_model",
]
