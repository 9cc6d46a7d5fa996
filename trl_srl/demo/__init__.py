"""A whole SRL run in minutes on a CPU: real expert solutions, a tiny model, training, evaluation before and after."""
