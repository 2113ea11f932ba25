"""`python -m goodspeed` is the `goodspeed` command."""

import sys

from goodspeed.cli import main

sys.exit(main())
