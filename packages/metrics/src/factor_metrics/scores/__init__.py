"""What else can be said of a prediction per date: classes, calibration, errors, top k, steps, turnover."""
