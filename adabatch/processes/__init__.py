"""The processes of a run: its ranks, the signals that stop it, its children."""
