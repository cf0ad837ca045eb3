"""What the command lines of both programs have in common: how a command fails, and how it ends.

Exit codes: 0; 1 when it failed, after one line on standard error for each reason; 2 for wrong
usage. A closed pipe and Ctrl-C end quietly with 128 and the signal's number, as in a shell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click


class Failure(Exception):  # noqa: N818 - it is no programming error
    """The command failed; one line for each reason."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def run(commands: click.Group, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command of the program `name`; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Not click's own main(), which gives a closed pipe and Ctrl-C the code of a failure
        with commands.make_context(name, given) as context:
            commands.invoke(context)
        sys.stdout.flush()
    except Failure as failure:
        for line in failure.lines:
            print(f"{name}: {line}", file=sys.stderr)
        return 1
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end, into the closed pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0
