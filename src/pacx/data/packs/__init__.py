"""Records to a pack: films decoded once, which everything downstream reads."""
