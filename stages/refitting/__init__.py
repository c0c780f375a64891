"""The promoted recipe trained up to the last date: its fold, its training, how far it agrees with what was judged."""
