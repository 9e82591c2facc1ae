"""LangGraph's SQLite stores, also where Python's own SQLite takes no extensions."""

import importlib
import sqlite3
import sys

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    sys.modules["sqlite3"] = importlib.import_module("pysqlite3")

from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore

__all__ = ["AsyncSqliteStore", "SqliteStore"]
