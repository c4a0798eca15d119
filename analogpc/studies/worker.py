"""A worker process: ``python -m analogpc.studies.worker ADDRESS GPUS``. It ends when its standard input does."""

from __future__ import annotations

import asyncio
import os
import sys
import threading


def _end_with_parent() -> None:
    """Wait for the end of standard input, which closes with the parent process, and exit."""
    sys.stdin.buffer.read()
    os._exit(0)


async def _work(address: str, gpus: int) -> None:
    from distributed import Worker

    resources = {"GPU": float(gpus)} if gpus else None
    async with Worker(
        address, nthreads=1, memory_limit=0, dashboard_address=None, dashboard=False, resources=resources
    ) as worker:
        await worker.finished()


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_work(sys.argv[1], int(sys.argv[2])))
