"""Servers, faults and the history checker: what the end-to-end tests, the demo, chaos and bench share."""
