"""What a result was made of, in digests that name it wherever it is sent."""

from __future__ import annotations

from collections.abc import Iterable

from factor_data.sums import SUMS, file_sha256
from stages.running.files import RESULTS
from stages.running.planned import Plan, plan_path


def origin(plan: Plan, upstream: Iterable[str]) -> dict[str, str]:
    """Return sha256 of the plan of the stage and of the results that it reads, by name, and the digest of its code."""
    return {
        "plan": file_sha256(plan_path(plan.stage)),
        "code": plan.code,
        **{name: file_sha256(RESULTS / name / SUMS) for name in upstream},
    }
