from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.filtering.sandbox import run_code
from matrix_graph.filtering.steps.code import TestsPass
from matrix_graph.schema import Row

HOSTILE = {
    "endless loop": "while True:\n    pass",
    "endless recursion": "def f():\n    return f()\nf()",
    "memory bomb": "x = 'a'\nwhile True:\n    x += x",
    "huge list": "x = [0] * 10**11",
    "huge number": "x = 10 ** 10 ** 10",
    "reads a file": "open('/etc/passwd').read()",
    "writes a file": "open('{marker}', 'w').write('x')",
    "pathlib": "from pathlib import Path\nPath('{marker}').write_text('x')",
    "shell": "import os\nos.system('touch {marker}')",
    "fork": "import os\nwhile True:\n    os.fork()",
    "subprocess": "import subprocess\nsubprocess.run(['touch', '{marker}'])",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "import trick": "__import__('os').system('touch {marker}')",
    "class trick": "().__class__.__bases__[0].__subclasses__()",
    "builtins": "print.__self__.open('{marker}', 'w')",
    "exit": "import sys\nsys.exit(0)",
    "sleeps": "import time\ntime.sleep(100)",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.slow
def test_hostile_code_is_stopped_told_and_the_next_runs(code: str, tmp_path: Path) -> None:
    marker = tmp_path / "escaped"
    time.monotonic()
    assert run_code(code.replace("{marker}", str(marker)))
    assert not marker.exists()
    assert run_code("assert 1 + 1 == 2") == ""


def test_ordinary_code_runs() -> None:
    code = """
import math, re, json
from collections import Counter, defaultdict
from dataclasses import dataclass

@dataclass
class Boat:
    name: str
    tons: float = 1.5

    def heavier(self, other: 'Boat') -> bool:
        return self.tons > other.tons

def totals(rows: list[tuple[str, float]]) -> dict[str, float]:
    found = defaultdict(float)
    for name, value in rows:
        found[name] += value
    return {name: round(value, 2) for name, value in sorted(found.items())}

assert Boat('a', 3).heavier(Boat('b'))
assert totals([('x', 1.1), ('y', 2), ('x', 1)]) == {'x': 2.1, 'y': 2}
assert Counter('net').most_common(1)[0][1] == 1 and math.ceil(1.2) == 2
assert re.findall('a', 'aa') == ['a', 'a']
try:
    json.loads('{')
except ValueError:
    pass
"""
    assert run_code(code) == ""


def _row(solution: str, tests: str, **more: Any) -> Row:
    return {"id": "1", "kind": "code", "solution": solution, "tests": tests} | more


def test_a_solution_stays_only_if_its_tests_pass_and_depend_on_it() -> None:
    step, good = TestsPass(), "def twice(x):\n    return 2 * x\n"
    assert step.find([_row(good, "assert twice(2) == 4")]) == []
    (drop,) = step.find([_row(good, "assert twice(2) == 5")])
    assert drop.rule == "tests fail"
    assert "AssertionError" in str(drop.value)
    (drop,) = step.find([_row("def twice(x:", "assert twice(2) == 4")])
    assert "SyntaxError" in str(drop.value)
    (drop,) = step.find([_row(good, "assert True")])
    assert drop.rule == "tests prove nothing"
    assert step.find([{"id": "2", "kind": "sft", "messages": []}]) == []
