"""What ``pacx data`` does besides listing and packing: one file an action."""
