"""SLURM's programs as scripts that say what a test wants, for controllers that are silent or answer oddly."""

from __future__ import annotations

from pathlib import Path

_SQUEUE = """#!/bin/sh
echo squeue >> {folder}/calls
[ -e {folder}/silent ] && {{ echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }}
cat {folder}/queue
"""
_SACCT = """#!/bin/sh
echo sacct >> {folder}/calls
cat {folder}/accounting
"""


class FakeSlurm:
    """What ``squeue`` and ``sacct`` say; ``scancel`` succeeds, ``scontrol`` knows no job.

    Args:
        folder: of the scripts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        scripts = {"squeue": _SQUEUE, "sacct": _SACCT, "scancel": "#!/bin/sh\n", "scontrol": "#!/bin/sh\nexit 1\n"}
        for name, text in scripts.items():
            (folder / name).write_text(text.format(folder=folder))
            (folder / name).chmod(0o755)
        self.queue()
        self.accounting()

    def queue(self, *lines: str) -> None:
        """Let ``squeue`` list jobs: ``7_0|PENDING|Priority``."""
        self._write("queue", lines)

    def accounting(self, *lines: str) -> None:
        """Let ``sacct`` list jobs: ``7_0|TIMEOUT|0:0``."""
        self._write("accounting", lines)

    def _write(self, name: str, lines: tuple[str, ...]) -> None:
        (self._folder / name).write_text("".join(f"{line}\n" for line in lines))

    def be_silent(self, silent: bool = True) -> None:
        """Let ``squeue`` fail as it does while the controller is away."""
        mark = self._folder / "silent"
        if silent:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)

    def calls(self, program: str) -> int:
        """Return how often a program was called."""
        calls = self._folder / "calls"
        return calls.read_text().split().count(program) if calls.exists() else 0
