"""Health of a bundle without any bars: files, versions, canary, spread of forecasts, latency, gates."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from factor_data.sums import SUMS, checked
from factor_serve.bundle import HASH, MANIFEST, Bundle, BundleError, differing_files, load_bundle, read_manifest
from factor_serve.canary import canary_forecasts, canary_rows, compare_canary, spreads
from factor_serve.export.names import DOCUMENT, DOCUMENT_HASH
from factor_serve.exported import differing_in_export, is_export, read_export
from factor_serve.forecasts import STACK, known_models

REPEATS = 5
LEAST_SPREAD, MOST_SPREAD = 0.05, 20.0
"""Bounds of a date's spread of forecasts, in those of the test dates."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check and what was found."""

    name: str
    passed: bool
    found: str
    rule: str


def check_bundle(
    folder: str | Path, *, unpromoted: bool = False, max_ms: float | None = None, sha256: str | None = None
) -> tuple[Check, ...]:
    """Return every check; the ones that need a loaded bundle are left out where it cannot be loaded.

    Whoever edits a bundle can make its hashes anew: that is seen by `sha256` alone, which has to come from elsewhere.
    Without it an edit is seen where it forgot one of the places that repeat each other: the sums, the verdict of the
    gates, the inputs that members name, the forecasts of the canary.

    Parameters
    ----------
    sha256 : the identity that the bundle was known by when it was promoted; None: it is only told
    unpromoted : a stack that has not passed its gates is all right
    max_ms : the longest that the forecast of the canary may take, in milliseconds; None: it is only told
    """
    folder = Path(folder)
    exported = is_export(folder)
    written = DOCUMENT if exported else MANIFEST
    try:
        document = read_export(folder) if exported else read_manifest(folder)
        differences = differing_in_export(folder, document) if exported else differing_files(folder, document)
    except (BundleError, OSError) as error:
        return (Check(name="files", passed=False, found=str(error), rule=f"{written} can be read"),)
    files = Check(
        name="files",
        passed=not differences,
        found="; ".join(differences[:3]) or "all as written",
        rule=f"every file has the sha256 of {written}, and no other file is there",
    )
    if differences:
        return (files,)
    sums = () if exported else (_sums(folder),)
    known = (files, *sums, _identity(str(document[DOCUMENT_HASH if exported else HASH]), sha256, written))
    try:
        bundle = load_bundle(folder)
    except BundleError as error:
        return (*known, Check(name="members", passed=False, found=str(error), rule="every member loads"))
    members = Check(name="members", passed=True, found=", ".join(bundle.members), rule="every member loads")
    return (*known, members, *_of_loaded(bundle, unpromoted, max_ms))


def _sums(folder: Path) -> Check:
    """Hold the manifest against `sums.json`, which `make verify` reads and the manifest does not name."""
    found = "as written"
    try:
        checked(folder, MANIFEST)
    except (OSError, ValueError) as error:
        found = str(error)
    return Check(name="sums", passed=found == "as written", found=found, rule=f"{SUMS} has the sha256 of {MANIFEST}")


def _identity(found: str, expected: str | None, written: str) -> Check:
    """The one check that a bundle whose hashes were made anew does not pass."""
    return Check(
        name="identity",
        passed=expected is None or found == expected.lower(),
        found=found + (" (held against nothing: --sha256)" if expected is None else ""),
        rule="any identity, since none is asked for" if expected is None else f"the sha256 of {written} is {expected}",
    )


def _of_loaded(bundle: Bundle, unpromoted: bool, max_ms: float | None) -> list[Check]:
    compared = compare_canary(bundle)
    exact = all(one.same_bits for one in compared)
    checks = [_versions(bundle, exact)]
    for one in compared:
        found = "the same bits" if one.same_bits else f"largest difference {one.largest:.2g} deviations"
        missing = f", {one.num_missing} of {one.num_forecasts} on one side only" if one.num_missing else ""
        checks.append(
            Check(
                name=f"canary {one.model}",
                passed=one.passed,
                found=found + missing,
                rule="forecasts of the canary are those that were stored, up to rounding",
            )
        )
    return [*checks, _spread(bundle), _latency(bundle, max_ms), _promoted(bundle, unpromoted)]


def _versions(bundle: Bundle, exact: bool) -> Check:
    """Other versions are all right where the canary has the same bits all the same."""
    expected = bundle.versions
    differing = [
        f"{name} {installed_version(name)} for {version}"
        for name, version in expected.items()
        if installed_version(name) != version
    ]
    return Check(
        name="versions",
        passed=not differing or exact,
        found=", ".join(differing) or "those of the bundle",
        rule="libraries have the versions that the bundle was made with, or give the canary's very bits",
    )


def installed_version(name: str) -> str:
    """Return the installed version without its local part; "absent" where there is none."""
    if name == "python":
        return platform.python_version()
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"


def _spread(bundle: Bundle) -> Check:
    found = spreads(canary_forecasts(bundle, canary_rows(bundle)))
    wrong = []
    for model in known_models(bundle):
        for label, usual in bundle.reference["forecasts"].get(model, {}).items():
            now, deviation = found.get((model, label), 0.0), usual["deviation"]
            if deviation is not None and not LEAST_SPREAD * deviation <= now <= MOST_SPREAD * deviation:
                wrong.append(f"{model} for {label}: {now:.3g}, usually {deviation:.3g}")
    return Check(
        name="spread",
        passed=not wrong,
        found="; ".join(wrong[:3]) or "as on the test dates",
        rule=f"forecasts of the canary spread {LEAST_SPREAD:g} to {MOST_SPREAD:g} times as on the test dates",
    )


def _latency(bundle: Bundle, max_ms: float | None) -> Check:
    rows = canary_rows(bundle)
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        canary_forecasts(bundle, rows)
        took.append(1e3 * (time.perf_counter() - start))
    median = float(np.median(took))
    return Check(
        name="latency",
        passed=max_ms is None or median <= max_ms,
        found=f"{median:.1f} ms for members and {STACK} on {int(rows.on(rows.date_code.max()).sum())} symbols",
        rule="forecasting the canary is timed" if max_ms is None else f"takes at most {max_ms:g} ms",
    )


def _promoted(bundle: Bundle, unpromoted: bool) -> Check:
    gates = bundle.manifest["gates"]
    failed = [gate["rule"] for gate in gates if not gate["passed"]]
    wrong = [f"{gate['rule']}: said to be passed with {gate['value']}" for gate in gates if not _may_have_passed(gate)]
    if bundle.promoted == bool(failed):
        wrong.append(f"promoted is {bundle.promoted}, {len(failed)} gates are not passed")
    return Check(
        name="promoted",
        passed=not wrong and (bundle.promoted or unpromoted),
        found="; ".join(wrong) or ("all gates passed" if bundle.promoted else f"not passed: {'; '.join(failed)}"),
        rule="the stack has passed its gates" + (", or --unpromoted is given" if unpromoted else ""),
    )


def _may_have_passed(gate: Mapping[str, Any]) -> bool:
    """Return whether verdict and figures of a gate can be true together."""
    value, threshold = gate["value"], gate["threshold"]
    if not gate["passed"] or threshold is None:
        return True
    return value is not None and (value <= threshold if gate.get("is_maximum") else value >= threshold)


def as_json(checks: Sequence[Check]) -> str:
    """Return the checks as a JSON document."""
    document = {"passed": all(one.passed for one in checks), "checks": [asdict(one) for one in checks]}
    return json.dumps(document, indent=2)


def as_text(checks: Sequence[Check]) -> str:
    """Return a line per check."""
    width = max(len(one.name) for one in checks)
    return "\n".join(f"{'ok ' if one.passed else 'BAD'} {one.name:<{width}}  {one.found}" for one in checks)
