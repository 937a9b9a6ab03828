"""``python -m pixgraph``: the same as the program ``pixgraph``."""

import sys

from pixgraph.cli.main import main

sys.exit(main())
