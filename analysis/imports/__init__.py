"""Logs of other trainers as run directories, so that the same tables and the same refusals hold for them.

`table` reads a file into cells, `layouts` gives its columns our names, `names` says which names there are, `text` turns
a cell into a value, `epochs` makes the epochs of one run, and `runs` divides, places and writes runs.
"""

from __future__ import annotations

from analysis.imports.options import Options
from analysis.imports.runs import Imported, import_logs

__all__ = ["Imported", "Options", "import_logs"]
