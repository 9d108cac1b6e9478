"""`python -m recurra` and `recurra` are the command line."""

import atexit
import os
import signal
import threading
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Carry out one command and end with its exit code; a signal is heard from the first moment."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end)
    from recurra.cli import main as carry_out

    code = carry_out()
    if code > 128:  # tidying up may take as long as what was interrupted
        late = threading.Timer(0.3, os._exit, (code,))
        late.daemon = True
        late.start()
    # Python's own end is no more than this, takes long, and knows nothing of signals any more
    atexit._run_exitfuncs()
    os._exit(code)


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    main()
