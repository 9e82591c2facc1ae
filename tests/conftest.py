"""What holds for every test.

No test reaches the network: connections go to this machine or fail. None starts a process unless
it is marked `process`, so that the quick ones can be told from the others. None fails since the
machine is busy, or since the suite was started in the background or under nohup, where signals are
ignored.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from matrix_graph.filtering.answers import expressions
from matrix_graph.testing import FakeServer

_connect, _start = socket.socket.connect, subprocess.Popen.__init__
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# What a run is sealed with is none of the developer's.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="matrix-graph-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)
# Children inherit what is ignored, but no handler.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much hostile input a fuzz makes, and how often a process is killed."""
    parser.addoption("--kills", default=10, type=int, help="kills at random moments, in each test")
    parser.addoption("--bodies", default=100, help="mutated answers of servers")
    parser.addoption("--folders", default=40, help="mutated folders of runs")


def _loopback_only(self: socket.socket, address: Any) -> None:
    away = self.family in (socket.AF_INET, socket.AF_INET6)
    if away and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a test wanted to reach {address}")
    _connect(self, address)


def _no_process(self: Any, args: Any, *rest: Any, **options: Any) -> None:
    # The verifier's is one for the whole session.
    if not (isinstance(args, list) and args[-1] == expressions.__name__):
        raise AssertionError(f"mark the test with `process`: it starts {args!r}")
    _start(self, args, *rest, **options)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often a test kills a process."""
    return int(request.config.getoption("--kills"))


@pytest.fixture(autouse=True)
def _closed_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if not request.node.get_closest_marker("process"):
        monkeypatch.setattr(subprocess.Popen, "__init__", _no_process)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running
