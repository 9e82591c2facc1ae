"""Tests of stores that keep a file or a folder: killed at any moment, on a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from matrix_graph.testing.stores import StoreConformance


class DurableConformance(StoreConformance):
    """Adds kills and full disks.

    `opening` is Python code that sets `opened` to a context manager that gives the store in the
    folder `folder`, made with `index=INDEX`.
    """

    opening: ClassVar[str] = ""

    def test_killed_nothing_acknowledged_is_lost_and_no_batch_is_torn(self, tmp_path: Path) -> None:
        state: dict[str, str] = {}
        for turn in range(6):
            lines = self._lived(tmp_path, turn, kill_after=30 + 11 * turn)
            state = self._checked(tmp_path, state, lines)

    def test_on_a_full_disk_nothing_acknowledged_is_lost_and_no_batch_is_torn(
        self, tmp_path: Path
    ) -> None:
        lines = self._lived(tmp_path, 0, kill_after=10)
        state = self._checked(tmp_path, {}, lines)
        largest = max(_sizes(tmp_path)) + 60_000
        lines = self._lived(tmp_path, 1, largest=largest, keys=10_000)
        assert any("failed" in line for line in lines), "the disk was full"
        self._checked(tmp_path, state, lines)

    def _lived(
        self, folder: Path, turn: int, kill_after: int = 0, largest: int = 0, keys: int = 12
    ) -> list[dict[str, Any]]:
        """What a process that writes said until it was killed, or its files could not grow."""
        given = map(str, (folder, turn, largest, keys))
        command = [sys.executable, "-c", _WRITER, self.opening, *given]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        lines: list[dict[str, Any]] = []
        with child.stdout:
            for line in child.stdout:
                lines.append(json.loads(line))
                if len(lines) == kill_after:
                    child.kill()
        child.wait()
        return lines

    def _checked(
        self, folder: Path, before: dict[str, str], lines: list[dict[str, Any]]
    ) -> dict[str, str]:
        """What is there now, which has to be what was acknowledged, with the last batch or without
        it.
        """
        possible = [before]
        for line in lines:
            state = possible[0]
            after = state | dict.fromkeys(line["puts"], line["version"])
            after.pop(line["gone"], None)
            possible = {"done": [after], "begun": [state, after], "failed": [state, after]}[
                line["what"]
            ]
        command = [sys.executable, "-c", _READER, self.opening, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        there = json.loads(done.stdout)
        assert {key: item["version"] for key, item in there.items()} in possible
        for key, item in there.items():
            assert item["score"] == pytest.approx(1, abs=1e-3), f"{key} has its vector"
        return {key: item["version"] for key, item in there.items()}


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


_WRITER = """
import json, random, resource, signal, sys
from langgraph.store.base import PutOp
from matrix_graph.testing.stores import INDEX
opening, folder, turn, largest, keys = sys.argv[1:]
exec(opening)
pick = random.Random(int(turn))
with opened as store:
    if int(largest):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    for number in range(2_000):
        *puts, gone = map(str, pick.sample(range(int(keys)), 3))
        version = f"version {turn} {number}"
        line = {"puts": puts, "gone": gone, "version": version}
        print(json.dumps(line | {"what": "begun"}), flush=True)
        text = {"text": version, "filling": "x" * 2_000}
        ops = [PutOp(("lived",), key, text) for key in puts]
        try:
            store.batch([*ops, PutOp(("lived",), gone, None)])
        except Exception:
            print(json.dumps(line | {"what": "failed", "failed": True}), flush=True)
            break
        print(json.dumps(line | {"what": "done"}), flush=True)
"""

_READER = """
import json, sys
from matrix_graph.testing.stores import INDEX
opening, folder = sys.argv[1:]
exec(opening)
with opened as store:
    there = {}
    for item in store.search(("lived",), limit=100_000):
        version = item.value["text"]
        scores = {i.key: i.score for i in store.search(("lived",), query=version, limit=10)}
        there[item.key] = {"version": version, "score": scores.get(item.key)}
    print(json.dumps(there))
"""
