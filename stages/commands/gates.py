"""make gates: is the stack promoted, counting every look that git and DVC know? If not, what is short, and exit 1.

The gates are those that the stage `stack` has measured; the one on the interval is measured again, at the level that
all looks leave, and what stack, bundle and models consist of is read and held against its digests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from factor_data import Sums
from factor_metrics import Gate, exit_status, format_gates, interval_gate
from stages.judging.looks import Looks, count_looks
from stages.judging.pages import StackPage, looks_of_run
from stages.params.stack import StackParams
from stages.plan import note_if_current
from stages.records import read_record
from stages.running.files import RESULTS, stored
from stages.running.planned import read_plan
from stages.running.stage import UNTOUCHED, run


def main() -> None:
    """Print every gate and the verdict, and end with status 1 where the stack is not promoted."""
    note_if_current()
    params = read_plan("stack").section("stack", StackParams)
    page = read_record(stored("stack", "page.json"), StackPage)
    first = page.labels[0]
    looks = count_looks(looks_of_run(len(first.models), len(page.labels)), first.models)
    gates = [*with_looks(page, params, looks), artefacts_gate(list(first.models))]
    print(format_gates(gates))
    print(f"{looks.total} looks: {looks.this_run} of this run and {looks.earlier} before ({looks.source})")
    print(f"{'Promoted' if not exit_status(gates) else 'NOT promoted'}: {', '.join(gated(page, params))}")
    sys.exit(exit_status(gates))


def gated(page: StackPage, params: StackParams) -> list[str]:
    """Return the labels that are held against the gates."""
    return list(params.gate_labels) or [page.labels[0].subject.label]


def with_looks(page: StackPage, params: StackParams, looks: Looks) -> list[Gate]:
    """Return the gates of the stage with those on intervals measured again at the level that all looks leave."""
    subjects = {one.subject.label: one.subject for one in page.labels}
    result = []
    for gate in page.gates:
        if gate.name == "stack_interval":
            label = gate.label or page.labels[0].subject.label
            again = interval_gate(
                params.gates_of(label),
                subjects[label].judged.rank_ic,
                label=label,
                horizon=subjects[label].overlap,
                num_looks=looks.total,
            )
            result.append(replace(again, label=gate.label))
        else:
            result.append(gate)
    return result


def artefacts_gate(models: Sequence[str]) -> Gate:
    """Return the gate on files of the stack, its bundle and its models: none is missing, new or of other bytes."""
    told: list[str] = []
    stack = RESULTS / "stack"
    for folder in (stack, stack / "bundle", *(RESULTS / "train" / name for name in models)):
        told += damages(folder)
    rule = "files of the stack, its bundle and its models that are not what was written must be at most 0"
    rule += f" (first: {told[0]})" if told else ""
    return Gate(name="artefacts", passed=not told, value=float(len(told)), threshold=0.0, rule=rule, is_maximum=True)


def damages(folder: Path) -> list[str]:
    """Return what is wrong with each file of a folder that has digests, a new file and missing digests among it."""
    try:
        sums = Sums(folder)
        told = sums.damages()
        if not told:
            sums.check_all()
    except ValueError as error:
        return [str(error)]
    return told


if __name__ == "__main__":
    run("gates", main, hint=UNTOUCHED)
