"""A forecast judged in full: its evaluation, scores and profile, and the gates for promotion."""
