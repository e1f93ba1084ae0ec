"""How values are written in the cells of a CSV table, in files and in requests alike."""

from __future__ import annotations

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL")
TRUE = ("true", "True", "TRUE")
FALSE = ("false", "False", "FALSE")
