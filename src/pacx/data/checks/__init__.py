"""Is a copy of a dataset complete and right, and which films do packs share?"""
