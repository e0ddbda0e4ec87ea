"""One file per official dataset whose layout the simulated hospital can write; found by discovery."""
