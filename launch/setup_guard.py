"""Makes a line of ``cluster.setup`` that fails stop its job, with a sentence that names it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

#: In bash, BASH_SOURCE has a second entry within a sourced file, whose own failing lines may be meant. The line is read
#: from the script, because BASH_COMMAND names a command within a function such as ``module``.
_ON_FAILURE = (
    "trap 'status=$?; [ ${#BASH_SOURCE[@]} -gt 1 ] || { echo \"cluster.setup: error: this line failed with status "
    '$status: $(sed -n "${LINENO}p" "$0")" >&2; trap - EXIT; exit 1; }\' ERR'
)
#: The start of both sentences is known to adabatch/rundir/causes.py.
_ON_EXIT = "trap 'echo \"cluster.setup: error: it ended the job\" >&2' EXIT"
_NO_LONGER = "trap - ERR EXIT"


def guarded(setup: Sequence[str]) -> list[str]:
    """Return the lines so that the script ends at the first one that fails; none for none.

    Comments in front stay in front: ``#SBATCH`` counts only before the first command.
    """
    comments = list(itertools.takewhile(lambda line: line.startswith("#"), setup))
    commands = list(setup[len(comments) :])
    return [*comments, _ON_FAILURE, _ON_EXIT, *commands, _NO_LONGER] if commands else comments
