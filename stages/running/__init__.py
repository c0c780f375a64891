"""How any stage runs: short errors, its plan, folders that appear whole or not at all, locks, the machine's limits.

Nothing here decides a number: this room, like `stages.params`, `stages.planning` and `stages.processes`, is in no plan.
"""
