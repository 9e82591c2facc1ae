"""Where a figure was measured, and how much memory a process holds."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """One line: cores, load, Python and the packages that matter."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("langgraph", "chromadb", "langchain-openai")
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {packages}"
    )


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
