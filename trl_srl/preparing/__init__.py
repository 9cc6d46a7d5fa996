"""Data of any size → step rows on disk: in parts, looked at, and rewritten by a model where they have no steps."""
