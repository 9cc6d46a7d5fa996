"""The weights that a run starts from and leaves: adapters, 4-bit layers, merging, the same weights or others."""
