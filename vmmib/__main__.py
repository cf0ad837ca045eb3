"""`python -m vmmib` is `vmmib`."""

import sys

from vmmib.cli import main

sys.exit(main())
