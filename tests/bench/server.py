"""The fake OpenAI server in a process of its own, so that its work is not counted as a client's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from matrix_graph.context import Context
from matrix_graph.testing import FakeServer, Faults


@contextmanager
def serving(faults: Faults | None = None) -> Iterator[str]:
    """The base URL of a server that runs until the block ends."""
    command = [sys.executable, "-m", "tests.bench.server", json.dumps(asdict(faults or Faults()))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


def fake_context(url: str, folder: str, slots: int) -> Context:
    """Models behind that server, and a journal in `folder`."""
    return Context(
        model="openai:fake",
        embeddings="openai:fake",
        base_url=url,
        concurrency=slots,
        journal=Path(folder, "journal.sqlite"),
    )


if __name__ == "__main__":
    with FakeServer(Faults(**json.loads(sys.argv[1]))) as server:
        print(server.url, flush=True)
        sys.stdin.read()
