"""One contract for a model on a fold (`contract`), and the families that keep it: tabular models and networks."""
