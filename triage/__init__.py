"""From a bad HTTP status down to the VM: the evidence, the verdict, the alert. Not released yet."""

__version__ = "0.1.0"
