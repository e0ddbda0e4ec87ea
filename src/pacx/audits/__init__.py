"""What the paper leaves open, put to packs a user has: one file an audit, found by discovery."""
