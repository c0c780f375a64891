"""A workspace whose stages are forks of one process: a study of small markets would load libraries most of the time."""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import traceback

from stages import ROOT
from studies.workspace import Workspace

LIBRARIES = (
    "numba",
    "pyarrow.parquet",
    "scipy.optimize",
    "lightgbm",
    "torch",
    "safetensors.torch",
    "pydantic",
    "dvclive",
)
"""What every stage would load again in a process of its own, for longer than it then works."""
PROJECT = ("stages", "studies", "factor_data", "factor_metrics", "factor_models", "factor_experiments")


class Forked(Workspace):
    """A workspace whose stages are forks of this process, which has the libraries; each loads the project itself."""

    def _start(self, *command: str) -> None:
        for library in LIBRARIES:
            importlib.import_module(library)
        child = os.fork()
        if not child:
            self._become(*command)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            said = (self.folder / "stage.log").read_text(encoding="utf-8")
            raise RuntimeError(f"{' '.join(command)} failed in {self.folder} with status {status}:\n{said}")

    def _become(self, module: str, *arguments: str) -> None:
        """Run `python -m stages.<module>` and end, whatever happens."""
        status = 1
        try:
            os.chdir(self.folder)
            log = os.open("stage.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            for name in [name for name in sys.modules if name.partition(".")[0] in PROJECT]:
                del sys.modules[name]
            sys.path.insert(0, str(ROOT))
            sys.argv = [module, *arguments]
            runpy.run_module(f"stages.{module}", run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
