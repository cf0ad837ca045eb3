"""The command `triage`: a name kept for a later release, which says so."""

from __future__ import annotations

import argparse
import sys

from triage import __version__


def main() -> int:
    """Answer --help and --version; refuse everything else with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="triage",
        description="From a bad HTTP status down to the VM that caused it.",
        epilog="This release holds only vmmib; triage comes in a later one.",
    )
    parser.add_argument("--version", action="version", version=f"triage {__version__}")
    parser.parse_known_args()
    print("triage: this release holds only vmmib; triage comes in a later one", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
