"""Stacking: models combined out of fold by a meta learner that knows earlier folds alone."""
