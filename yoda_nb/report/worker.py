"""Run one notebook with papermill: a program of its own, so that notebooks share no state.

``python -P worker.py JOB`` takes a JSON object with source, output, parameters, kernel (its
name) and manager (settings of the kernel manager). It prints one JSON object per line on standard
output: the cells as they finish, the bars of long cells as they move, then the outcome. It ends
when its standard input closes, so a killed parent leaves no kernel behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any


def main(job: dict[str, Any]) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    try:
        papermill.execute_notebook(
            job["source"],
            job["output"],
            parameters=job["parameters"],
            kernel_name=job["kernel"],
            language="python",
            progress_bar=False,
            start_timeout=120,
            stderr_file=Bars(),
            on_cell_executed=lambda cell, cell_index, execute_reply: say(cell=cell_index + 1),
            config=Config({"KernelManager": job["manager"]}),
        )
    except papermill.PapermillExecutionError as error:
        say(error=f"{error.ename}: {error.evalue}", failed_cell=error.cell_index)
    except DeadKernelError:
        say(error="the kernel died, probably out of memory", failed_cell=None)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}", failed_cell=None)
    else:
        say(error=None)


class Bars:
    """A file for the notebook's standard error that passes the latest progress bar on."""

    def write(self, text: str) -> None:
        if "\r" in text and (bar := text.rsplit("\r", 1)[1].strip()):
            say(bar=bar)

    def flush(self) -> None:
        pass


def say(**message: Any) -> None:
    print(json.dumps(message), file=PIPE, flush=True)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    # a grammar that takes jsonschema a second or two to build, for a format that no notebook has
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    PIPE = os.fdopen(os.dup(1), "w")  # papermill and its libraries may print: keep them apart
    os.dup2(2, 1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(sys.argv[1]))
    os._exit(0)  # the watching thread sits in read(); the kernel is already down
