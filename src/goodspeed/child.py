"""`python -m goodspeed.child ARGUMENTS` is `goodspeed ARGUMENTS` that does not outlive its parent.

Standard input is a pipe whose other end only the parent holds: it closes when the parent ends, however it ends.
"""

import os
import signal
import sys
import threading
import time

from goodspeed.cli import main

GRACE_S = 5.0


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True, name="parent watch").start()
    sys.exit(main())
