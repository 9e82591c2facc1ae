"""What drives runs from outside: the command line and its progress display."""
