"""The loop that trains every stage, and what makes it safe to kill."""
