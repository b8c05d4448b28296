"""`python -m openexpose` is the `openexpose` command."""

import sys

from openexpose.cli.main import main

sys.exit(main())
