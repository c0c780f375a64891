"""Questions put to the whole project, each a command that can be run again and writes a page of docs/results."""
