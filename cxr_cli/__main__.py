"""Run the command line: ``python -m cxr_cli`` and the script ``cxr``."""

from __future__ import annotations

import gc
import os
import signal
import sys

from cxr_cli.errors import is_out_of_memory


def main() -> None:
    """Run the command line; ends with `SystemExit`."""
    # Until there is something to clean up, Ctrl-C ends the process without a traceback out of an import.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Matrices are small here, and what is large is shared out to processes: further threads would only wait in a
    # busy loop. Read when numpy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Loading pandas makes a hundred thousand objects and no garbage. Looking for some again and again takes a quarter
    # of the time of a short command. It is collected from where long work begins (`cxr_cli.cli.console.progress_bar`).
    gc.disable()
    try:
        from cxr_cli.cli.app import main as run
    except (ImportError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write("error: out of memory\n")
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
