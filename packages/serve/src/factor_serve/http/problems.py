"""What a client is told when its request is refused: the field, and the rule that it breaks."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, field: str | None, rule: str, retry_after: int | None = None) -> None:
        super().__init__(rule)
        self.status, self.field, self.rule, self.retry_after = status, field, rule, retry_after

    def document(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {"error": {"field": self.field, "rule": self.rule}}

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": 'Basic realm="factor-serve"'} if self.status == 401 else {})
