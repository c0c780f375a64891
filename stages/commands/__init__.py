"""Commands beside the DAG: what make's targets run."""
