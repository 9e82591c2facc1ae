"""`python -m matrix_graph` is the command line."""

from matrix_graph.terminal.cli import app

if __name__ == "__main__":
    app()
