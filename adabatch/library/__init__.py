"""adabatch in a training loop of one's own: the schedule, the sampler of growing batches, and recording runs."""
