"""Lets the browser tests share the server fixtures of the workload tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workloads"))
