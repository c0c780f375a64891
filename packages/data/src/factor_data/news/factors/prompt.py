"""Prompt that asks a language model for factors of a document, and the replies that are accepted."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from factor_data.atomic import canonical_json

PROMPT = (
    "Below is news about {symbol}. Name the {top_k} factors in it most likely to move the price of {symbol}, the "
    'strongest first. Answer with JSON alone: {{"factors": ["...", ...]}}, each factor one short sentence, fewer or '
    "none if the news holds fewer.\n\nNews:\n{text}"
)
NUMBERED = re.compile(r"(\d{1,9})\s*[.):]\s+(\S.*)")
PLACEHOLDERS = frozenset({"", "-", "--", "---", "n/a", "na", "nan", "none", "null"})


@dataclass(frozen=True, kw_only=True)
class FactorConfig:
    """Model, prompt and sampling of an extraction."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    model: str
    """Name of the model at the endpoint."""
    top_k: int = 3
    """Factors a document may have."""
    max_characters: int = 5_000
    """Characters of a document that are sent; the rest is cut."""
    max_tokens: int = 1_000
    """Most tokens of a reply."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model must be named")
        for name in ("top_k", "max_characters", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def request(self, symbol: str, text: str) -> dict[str, Any]:
        """Return the body of the chat request for a document; temperature 0."""
        prompt = PROMPT.format(symbol=symbol, top_k=self.top_k, text=text[: self.max_characters])
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }

    def key(self, symbol: str, text: str) -> str:
        """sha256 of the request (and `top_k`): equal documents are asked about once."""
        content = {"top_k": self.top_k, "request": self.request(symbol, text)}
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def parse_factors(reply: str, top_k: int) -> tuple[str, ...] | None:
    """Return the factors of a reply, strongest first; None if it is malformed.

    Accepted is, in this order: JSON as asked for; such JSON inside other text (a code fence, a greeting); a list
    numbered 1, 2, ... with one factor a line. No factor at all is a reply as well: `{"factors": []}`. Malformed are
    more than `top_k` factors, one that is not text or only a placeholder ("--", "n/a"), and everything else, such as
    JSON nested too deep to be read. The time is proportional to the length of the reply.
    """
    for text in (reply, reply[reply.find("{") : reply.rfind("}") + 1]):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            continue
        factors = content.get("factors") if isinstance(content, dict) else None
        return _checked(factors, top_k) if isinstance(factors, list) else None
    lines = (NUMBERED.fullmatch(line.strip()) for line in reply.split("\n"))
    numbered = [line.groups() for line in lines if line]
    if not numbered or [int(number) for number, _ in numbered] != list(range(1, len(numbered) + 1)):
        return None
    return _checked([factor for _, factor in numbered], top_k)


def _checked(factors: list[Any], top_k: int) -> tuple[str, ...] | None:
    if len(factors) > top_k or not all(isinstance(factor, str) for factor in factors):
        return None
    cleaned = tuple(" ".join(factor.split()) for factor in factors)
    return None if any(factor.lower() in PLACEHOLDERS for factor in cleaned) else cleaned
