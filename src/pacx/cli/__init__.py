"""The pacx command: argument parsing lives here and nowhere else."""
