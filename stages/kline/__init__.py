"""The K-line model: its tokenizer and its predictor, the third family of `stages.fitting.contract`."""
