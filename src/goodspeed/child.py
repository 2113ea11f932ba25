"""`python -m goodspeed.child ARGUMENTS` runs `goodspeed ARGUMENTS` and stops when its parent process ends.

Standard input is a pipe whose other end only the parent holds, so that it closes when the parent ends for any reason.
"""

import os
import signal
import sys
import threading
import time

from goodspeed.cli import main

GRACE_S = 5.0


def _stop_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True, name="parent watch").start()
    sys.exit(main())
