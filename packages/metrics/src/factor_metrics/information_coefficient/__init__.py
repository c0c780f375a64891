"""The correlation of prediction and label per date: plain, by rank, weighted, in groups, over time."""
