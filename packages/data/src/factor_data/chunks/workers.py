"""Run one function over many parts, a few at a time, and take the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
COPIES = 6  # arrays of the size of a part's own that work on it holds at once


class DaskExecutor(Executor):
    """Runs parts on the cluster of a Dask client; one whose worker dies is begun anew, `retries` times at most.

    Not `Client.get_executor()`: its futures never end where the workers of a part die after it has been computed and
    before its result was taken. Those of the client raise.
    """

    def __init__(self, client: Any, retries: int = 3) -> None:
        self.client, self.retries = client, retries

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Return Dask's future of a part, which has `result` and `cancel` as well."""
        # Not pure: a part may read a file that an equal one before it wrote, so no result stands for another.
        return self.client.submit(function, *arguments, **options, retries=self.retries, pure=False)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Memory and number of workers that the work on parts may use. Neither changes a result.

    `executor` runs the parts: threads, processes, or a cluster (`DaskExecutor`), which then needs the same file system.
    Without one they run in turn. `count` parts are in work at a time and share `max_bytes`.
    """

    max_bytes: int
    count: int = 1
    executor: Executor | None = None

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.count < 1:
            raise ValueError(f"max_bytes {self.max_bytes} and count {self.count} must be at least 1")

    def rows(self, row_bytes: int) -> int:
        """Rows a part may have, if the arrays it reads and writes have so many bytes a row."""
        return max(1, self.max_bytes // (COPIES * row_bytes * (self.count + 1)))

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the results in the order of the tasks; at most `count` are running or wait to be taken."""
        if self.executor is None:
            yield from map(function, tasks)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(self.executor.submit(function, task))
                if len(pending) > self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def run(self, function: Callable[[Task], None], tasks: Iterable[Task]) -> None:
        """Run all; the first error ends it."""
        for _ in self.map(function, tasks):
            pass
