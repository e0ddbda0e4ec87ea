"""What every reader of a table has to settle first: which column is which, what a cell says, which ids are one."""
