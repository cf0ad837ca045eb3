"""Check that the relative links of Markdown files outside of docs/ lead to something.

Those inside are checked by mkdocs, which does not see the others.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def broken(file: Path) -> list[str]:
    """Return a line for each link of `file` whose target is not there."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        for target in LINK.findall(line):
            path = target.partition("#")[0]
            if path and ":" not in path and not (file.parent / path).exists():
                found.append(f"{file.relative_to(ROOT)}:{number}: no {path}")
    return found


def main() -> int:
    """Print what leads nowhere; return the exit code."""
    lines = [line for file in sorted(ROOT.glob("*.md")) for line in broken(file)]
    sys.stderr.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
