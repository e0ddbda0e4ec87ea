"""What a cardiologist measures on a recording: heartbeats, one averaged beat, its waves, and their measures."""
