"""What differs between two revisions: settings, code down to modules, data, environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factor_experiments.revision import Revision, flattened

ABSENT = "absent"


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What two revisions do not share; pairs are (in A, in B), "absent" where one has no such entry."""

    params: Mapping[str, tuple[Any, Any]]
    """Keys of params.yaml as written."""
    settings: Mapping[str, tuple[Any, Any]]
    """Effective settings of stages by `<stage>: <key>`, defaults filled in, beyond what params already name."""
    modules: Mapping[str, tuple[Any, Any]]
    """Modules whose code differs, by the digests of the plans."""
    stages: tuple[str, ...]
    """Stages and models whose plan differs."""
    environment: Mapping[str, tuple[Any, Any]]
    """Versions of libraries, locked or imported by a stage."""
    data: tuple[str | None, str | None] | None
    """md5 of the data where they differ; None where they are the same."""

    @property
    def nothing(self) -> bool:
        """Return whether the revisions share all that can decide a result."""
        return not (self.params or self.settings or self.modules or self.stages or self.environment or self.data)


def differences(a: Revision, b: Revision) -> Differences:
    """Return what differs between two revisions, all from files in git."""
    params = _pairs(a.params, b.params)
    stages = sorted(set(a.plans) | set(b.plans))
    settings: dict[str, tuple[Any, Any]] = {}
    for stage in stages:
        of_stage = [flattened(one.plans.get(stage, {}).get("settings", {})) for one in (a, b)]
        if all(of_stage):
            pairs = _pairs(*of_stage)
            settings |= {f"{stage}: {key}": pair for key, pair in pairs.items() if key not in params}
    return Differences(
        params=params,
        settings=settings,
        modules=_pairs(a.modules, b.modules),
        stages=tuple(stage for stage in stages if _content(a, stage) != _content(b, stage)),
        environment=_pairs(a.environment, b.environment) | _pairs(a.distributions, b.distributions),
        data=None if a.data == b.data else (a.data, b.data),
    )


def _content(revision: Revision, stage: str) -> Mapping[str, Any] | None:
    """Return a plan without the digest of its own file, which another layout of the same content changes."""
    plan = revision.plans.get(stage)
    return None if plan is None else {key: value for key, value in plan.items() if key != "sha256"}


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    found = {name: (a.get(name, ABSENT), b.get(name, ABSENT)) for name in names}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}
