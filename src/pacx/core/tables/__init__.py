"""What every reader of a table has to settle first: which column is which."""
