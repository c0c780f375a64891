"""params.yaml: a file per section, strict reading with messages that name key, value and rule.

The configuration classes of the packages are the schema. Only `stages.plan` and the commands read the whole file; a
stage finds its own sections, checked and with defaults filled in, in its plan (`stages.running.planned`).
"""
