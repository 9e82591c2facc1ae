"""MATRIX-Gen: from scenarios to instructions and answers."""
