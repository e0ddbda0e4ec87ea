"""How a run goes: its journal and those who watch it, means, pictures and figures of speed."""
