"""Every protocol on every pack for every encoder, and the certificate that can be held against the files."""
