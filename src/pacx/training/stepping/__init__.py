"""One step of a training: the optimiser, its rate, and no step on a number that is none."""
