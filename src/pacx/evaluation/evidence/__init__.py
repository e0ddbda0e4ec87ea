"""What an encoder's answer rests on: attention, deletion, shortcuts, a view of its embeddings."""
