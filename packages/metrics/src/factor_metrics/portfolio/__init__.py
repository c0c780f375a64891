"""From predictions to positions, and what they earn: weights, limits, accounting, performance, risk."""
