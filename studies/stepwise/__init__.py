"""What studies share: steps that leave one file each, the patients they are done on, and what rows are made of."""
