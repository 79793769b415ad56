"""The run directory's one owner: its files, columns, facts, heartbeat, outcome, and the one reading of its state."""
