"""The node as a process: its start, its transitions, its end."""
