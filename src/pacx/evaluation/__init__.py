"""Is it better? Protocols on frozen encoders, each ending in result rows with intervals."""
