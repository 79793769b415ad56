"""The run directory: its files, columns, facts, heartbeat, outcome, and the function that reads its state."""
