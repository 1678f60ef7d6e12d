"""The program: `xmodal`, and `python -m xmodal`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Runs the command line; an interrupt is answered in a word even while modules are still being loaded."""
    # A thread that waits sleeps: beside other work, waiting in circles makes two threads many times slower than one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # answered as Ctrl-C is
    try:
        from xmodal.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    finally:
        # The program is over: one more signal has nothing to stop, and would end it in a traceback.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
