"""`langgraph dev` serves the four graphs, and runs over its API pass: a real server, the SDK, no
network.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph_api", reason="the test group installs langgraph-cli[inmem]")

from langgraph_sdk import get_sync_client

from matrix_graph.testing import FakeServer
from tests.helpers import scenario, sft

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]


@contextmanager
def serving(folder: Path, home: Path, **environment: str) -> Iterator[str]:
    """`langgraph dev` over the langgraph.json in `folder`, with its state in `home`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "HOME": str(home)}
    # The server keeps its state beside its configuration, which is the project's own with whole
    # paths.
    config = json.loads((folder / "langgraph.json").read_text())
    config["graphs"] = {name: str(folder / path) for name, path in config["graphs"].items()}
    (home / "langgraph.json").write_text(json.dumps(config | {"dependencies": [str(folder)]}))
    binary = str(Path(sys.executable).with_name("langgraph"))
    command = [binary, "dev", "--no-browser", "--no-reload", "--port", str(port)]
    log = (home / "log").open("w")
    server = subprocess.Popen(
        command,
        cwd=home,
        env=os.environ | quiet | environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (home / "log").read_text()[-3000:]
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, server: FakeServer) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    served = {"MATRIX_GRAPH_BASE_URL": server.url, "OPENAI_API_KEY": "sk-secret-of-the-server"}
    with serving(ROOT, home, **served) as url:
        yield url


@pytest.mark.parametrize("name", ["base_url", "journal", "journals", "prompts", "run"])
def test_a_request_names_no_address_and_no_path(
    studio: str, server: FakeServer, tmp_path: Path, name: str
) -> None:
    """What a page in a browser posts, whatever its origin is."""
    with FakeServer() as foreign:
        value = foreign.url if name == "base_url" else str(tmp_path / "made")
        context = {"model": "openai:fake", "embeddings": "openai:fake", name: value}
        body = {"assistant_id": "society", "input": {"quota": 1}, "context": context}
        headers = {"Origin": "http://evil.example", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{studio}/runs/wait", json.dumps(body).encode(), headers, method="POST"
        )
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=60):
            pass
        assert not foreign.requests
    assert not (tmp_path / "made").exists()


def test_the_form_asks_for_no_address(studio: str) -> None:
    client = get_sync_client(url=studio)
    name = client.assistants.search(graph_id="matrix")[0]["assistant_id"]
    schemas: Any = client.assistants.get_schemas(name)
    asked = schemas["context_schema"]["properties"].keys()
    client.close()
    assert not asked & {"base_url", "journal", "journals", "prompts", "run", "branch_of"}


@pytest.mark.parametrize(
    ("graph", "given", "expected"),
    [
        ("society", {"quota": 2}, lambda out: out["produced"] == 2 and out["acted"] > 5),
        (
            "generator",
            {"requirements": [{"kind": "sft", "count": 2}]},
            lambda out: len(out["rows"]) == 2,
        ),
        (
            "filter",
            {"rows": [sft("1", "How do I mend a net?")]},
            lambda out: out["rows"][0]["id"] == "1",
        ),
        (
            "matrix",
            {"quota": 1, "wanted": [{"kind": "sft", "count": 2}]},
            lambda out: out["kept"] == {"sft": 2},
        ),
    ],
)
def test_a_run_over_the_api(
    studio: str, server: FakeServer, graph: str, given: dict[str, Any], expected: Any
) -> None:
    if graph == "generator":
        given = given | {"scenarios": [scenario(0, ["ana", "ben"], "mended the pump")]}
    context = {"model": "openai:fake", "embeddings": "openai:fake"}
    client = get_sync_client(url=studio)
    try:
        out: Any = client.runs.wait(None, graph, input=given, context=context)
        name = client.assistants.search(graph_id=graph)[0]["assistant_id"]
        drawn = client.assistants.get_graph(name, xray=True)
        schemas: Any = client.assistants.get_schemas(name)
    finally:
        client.close()
    assert expected(out), out
    assert schemas["input_schema"]["properties"].keys() >= given.keys()
    assert schemas["output_schema"]["properties"].keys() & out.keys()
    assert schemas["context_schema"]["properties"]["model"]["type"] == "string"
    names = {str(node["id"]) for node in drawn["nodes"]}
    if graph in ("society", "matrix"):
        assert any("Ebo Ansah" in name or "group-001" in name for name in names), names


def process_at(port: int) -> Path:
    """The server on that port, as /proc shows it."""
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if f"--port\0{port}" in command and "langgraph" in command:
            return process
    raise AssertionError("there is no server")


def _open(port: int) -> tuple[int, int]:
    """Threads and open files of the server on that port."""
    process = process_at(port)
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


def test_requests_leave_nothing_open(studio: str, server: FakeServer) -> None:
    context = {"model": "openai:fake", "embeddings": "openai:fake"}
    client = get_sync_client(url=studio)
    port = int(studio.rpartition(":")[2])
    try:
        for _ in range(8):
            client.runs.wait(None, "society", input={"quota": 1}, context=context)
        threads, files = _open(port)
        for _ in range(24):
            client.runs.wait(None, "society", input={"quota": 1}, context=context)
        now = _open(port)
    finally:
        client.close()
    assert now[0] <= threads + 3
    assert now[1] <= files + 12


def test_a_thread_that_is_resumed_finds_what_is_paid_for(studio: str, server: FakeServer) -> None:
    context: dict[str, Any] = {
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    wanted: Any = {"quota": 1, "wanted": [{"kind": "sft", "count": 6}]}
    client = get_sync_client(url=studio)
    before = server.requests.total()
    try:
        client.runs.wait(None, "matrix", input=wanted, context=context)
        whole = server.requests.total() - before
        thread = client.threads.create()["thread_id"]
        capped = context | {"max_calls": whole - 3}
        out: Any = client.runs.wait(
            thread, "matrix", input=wanted, context=capped, raise_error=False
        )
        assert "CapReached" in json.dumps(out)
        assert server.requests.total() - before == 2 * whole - 3
        out = client.runs.wait(thread, "matrix", input=None, context=context)
        assert out["kept"] == {"sft": 6}
        assert server.requests.total() - before == 2 * whole
    finally:
        client.close()


def test_the_examples_are_served(server: FakeServer, tmp_path: Path) -> None:
    models = {"model": "openai:fake", "embeddings": "openai:fake"}
    served = {"MATRIX_GRAPH_BASE_URL": server.url}
    keys = {
        "OPENAI_BASE_URL": server.url,
        "OPENAI_API_KEY": "sk-nobody",
        "ROUTER": "openai:fake",
    }
    spoken = {"messages": [{"role": "user", "content": "The oven smokes."}]}
    asked: list[tuple[str, str, Any, Any]] = [
        ("society_in_an_app", "diary", {"quota": 2}, models),
        ("modulator_among_agents", "street", spoken, None),
    ]
    for folder, graph, given, context in asked:
        home = tmp_path / folder
        home.mkdir()
        with serving(ROOT / "examples" / folder, home, **keys, **served) as url:
            client = get_sync_client(url=url)
            out: Any = client.runs.wait(None, graph, input=given, context=context)
            client.close()
        if graph == "diary":
            assert len(out["pages"]) == out["produced"] == 2
        else:
            assert {d["sender"] for d in out["deliveries"]} == {"baker", "sweep", "clerk"}
