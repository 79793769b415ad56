"""The training of one run: the loop and its parts."""
