"""`python -m recurra` and `recurra` are the command line."""

import atexit
import os
import signal
import sys
import threading

__all__ = ["main"]


def main() -> int:
    """Carry out one command and return its exit code; a signal is heard from the first moment."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end)
    from recurra.cli import main as carry_out

    code = carry_out()
    if code > 128:  # Python may take as long to end as what was interrupted
        late = threading.Timer(0.3, os._exit, (code,))
        late.daemon = True
        late.start()
        atexit._run_exitfuncs()
        os._exit(code)
    return code


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
