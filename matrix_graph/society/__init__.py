"""Profiles, personas, groups, and the graph in which they live."""
