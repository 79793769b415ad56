"""The training of one run: the loop, and what it is made of."""
