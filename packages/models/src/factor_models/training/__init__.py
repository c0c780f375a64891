"""How a network is trained: inputs, objective, engine (DeepSpeed), loop, checkpoints of a run."""
