"""The command line: runs, progress, traces and the debugger on a terminal."""
