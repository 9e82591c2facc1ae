"""The boundary is one place: nowhere else is a file opened, JSON of others read, a terminal written
to, or text quoted in a prompt.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "matrix_graph"
INSIDE = ("boundary", "testing")
FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.relative_to(ROOT).parts[0] not in INSIDE]
CALLS = {
    *("open", "print", "input", "exec", "eval", "compile", "__import__"),
    *("os.open", "os.replace", "os.rename", "os.remove", "os.unlink", "os.mkdir", "os.makedirs"),
    *("shutil.copy", "shutil.move", "shutil.copytree"),
    *("json.load", "json.loads", "yaml.load", "yaml.safe_load", "yaml.full_load"),
    *("pickle.loads", "pickle.load", "marshal.loads", "sqlite3.connect", "Console"),
    *("sys.stdout.write", "sys.stderr.write", "os.system", "html.unescape"),
}
METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "open", "unlink", "rmtree",
           "mkdir", "touch", "rename", "replace_with", "symlink_to", "hardlink_to", "chmod",
           "executescript", "load_extension"}  # fmt: skip
ALLOWED = {
    # Files of this package.
    ("report/page.py", "files(...).read_text"),
    ("report/display.py", "files(...).read_text"),
    # Processes of ours, over pipes of ours.
    ("filtering/answers/expressions.py", "json.loads"),
    ("filtering/answers/expressions.py", "print"),
    # What was just written by the record itself, and a copy of what was looked at.
    ("runs/record.py", "shutil.rmtree"),
    ("memory/folder.py", "shutil.copyfile"),
}


def _called(node: ast.Call) -> str:
    func, names = node.func, []
    while isinstance(func, ast.Attribute):
        names.append(func.attr)
        func = func.value
    if isinstance(func, ast.Name):
        names.append(func.id)
    elif names:
        names.append("(...)")
    return ".".join(reversed(names)).replace("(...)", "files(...)")


def found(source: str) -> Iterator[tuple[str, int]]:
    """What of the boundary's business a module does by itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = _called(node)
            last = name.rpartition(".")[2]
            if name in CALLS or ("." in name and last in METHODS and not name.startswith("self.")):
                yield name, node.lineno
        elif isinstance(node, ast.Constant) and str(node.value).strip() in ("<<<", ">>>"):
            yield "a mark of prompts", node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_else_opens_prints_reads_or_quotes(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    assert [
        (name, line)
        for name, line in found(path.read_text("utf-8"))
        if (place, name) not in ALLOWED
    ] == []


@pytest.mark.parametrize(
    "code",
    ["open('x')", "Path('x').read_text()", "path.open()", "json.loads(t)", "yaml.safe_load(t)",
     "sqlite3.connect(p)", "print(1)", "sys.stdout.write(t)", "Console()", "text = '<<<\\n'",
     "f'{OPEN}'.join(['>>>'])", "out.mkdir()", "db.executescript(t)", "os.replace(a, b)"],
)  # fmt: skip
def test_what_is_looked_for_is_seen(code: str) -> None:
    assert list(found(code))


def test_what_is_allowed_is_there() -> None:
    seen = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in FILES
        for name, _ in found(path.read_text("utf-8"))
    }
    assert seen <= ALLOWED
