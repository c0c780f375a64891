"""What each stage's result can depend on: its settings with defaults filled in, and the code it can load."""
