"""Pages and cards drawn from the numbers that evaluate and stack wrote. Nothing is computed from predictions here."""
