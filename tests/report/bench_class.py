"""How long a class waits, and what it takes: thirty visitors who open one small page at once.

Run ``python tests/report/bench_class.py [VISITORS]``. Everything is on loopback, and the visitors share the
processor with their server. Each opens the page, then moves its slider to a value of their own; it ends with code 1
unless all are served and each sees their own. Ten minutes are the limit.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from visitors import classroom, crowd, memory_of, write_slider

LIMIT = 600  # seconds


def main(visitors: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "notebooks", Path(name) / "run" / "home"
        folder.mkdir()
        home.mkdir(parents=True)
        write_slider(folder)
        with classroom(folder, home) as (url, pid):
            alone = memory_of(pid)
            visits, said, served, moved = asyncio.run(asyncio.wait_for(crowd(url, "slider.ipynb", visitors), LIMIT))
            together = memory_of(pid)
            started = time.monotonic()
            asyncio.run(crowd(url, "slider.ipynb", 1))
            one_more = time.monotonic() - started
    own = sum(told.startswith(f"level {100 + k} in ") for k, told in enumerate(said))
    kernels = len({visit.kernel for visit in visits})
    print(f"{visitors} visitors on {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    print(f"all pages were there after {served:.1f} s, all sliders had moved {moved:.1f} s later")
    print(f"one more visitor then waited {one_more:.1f} s")
    print(f"memory: {alone:.2f} GiB without visitors, {together:.2f} GiB with {kernels} kernels", end="")
    print(f", {1024 * (together - alone) / visitors:.0f} MiB a visitor")
    print(f"{own} of {visitors} see their own value")
    return 0 if own == kernels == visitors else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
