"""One file a verb of the command, and one for each long action of a verb."""
