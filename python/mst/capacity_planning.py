"""Plans as users of the older planner ask for them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, List, Mapping, Optional, Union

from . import program
from .report import Report

__all__ = ["CapacityPlanner", "run_capacity_planning"]

PathLike = Union[str, Path]


def run_capacity_planning(
    profile_path: PathLike,
    workload_config: PathLike,
    output_path: Optional[PathLike] = None,
    constraints_config: Optional[PathLike] = None,
    telemetry_path: Optional[PathLike] = None,
    *,
    prices: Optional[str] = None,
    mst: Optional[str] = None,
) -> Report:
    """Plans from files. The report goes to `output_path`, and the summary for people beside it as .txt."""
    arguments = ["--profile", str(profile_path), "--workload", str(workload_config)]
    for flag, value in [
        ("--output", output_path),
        ("--constraints", constraints_config),
        ("--telemetry", telemetry_path),
        ("--prices", prices),
    ]:
        if value is not None:
            arguments += [flag, str(value)]
    return _plan(arguments, mst)


class CapacityPlanner:
    """Plans for one profile."""

    def __init__(
        self, profile_path: PathLike, *, prices: Optional[str] = None, mst: Optional[str] = None
    ) -> None:
        self.profile_path = Path(profile_path)
        self.prices = prices
        self.mst = mst
        self.telemetry_path: Optional[Path] = None
        if not self.profile_path.exists():
            raise FileNotFoundError(f"{profile_path}: there is no such profile")

    def calibrate(self, telemetry_path: PathLike) -> None:
        """Lets searches from now on be calibrated by a log of iterations first. The log is read then."""
        path = Path(telemetry_path)
        if not path.exists():
            raise FileNotFoundError(f"{telemetry_path}: there is no such telemetry")
        self.telemetry_path = path

    def search(
        self,
        config_space: Optional[Mapping[str, Any]] = None,
        constraints: Optional[Mapping[str, Any]] = None,
        workload_desc: Optional[Mapping[str, Any]] = None,
        **others: Any,
    ) -> Report:
        """Plans. The three are the parts of a request file; `others` are its other keys, for example `simulation`, `demand_qps`, `headroom`, `objective`."""
        parts = {"config_space": config_space, "constraints": constraints, "workload": workload_desc}
        request = {key: dict(part) for key, part in parts.items() if part is not None}
        request.update(others)
        with tempfile.TemporaryDirectory() as folder:
            # JSON is YAML.
            path = Path(folder) / "request.yaml"
            path.write_text(json.dumps(request, indent=2))
            arguments = ["--profile", str(self.profile_path), "--workload", str(path)]
            if self.telemetry_path is not None:
                arguments += ["--telemetry", str(self.telemetry_path)]
            if self.prices is not None:
                arguments += ["--prices", self.prices]
            return _plan(arguments, self.mst)

    @staticmethod
    def save_report(results: Report, path: PathLike) -> None:
        """Writes the report as JSON."""
        _write(path, json.dumps(results, indent=2) + "\n")

    @staticmethod
    def save_summary(results: Report, path: PathLike) -> None:
        """Writes the summary for people."""
        _write(path, results["text"])


def _plan(arguments: List[str], mst: Optional[str]) -> Report:
    return program.run(["plan", *arguments, "--format", "json"], mst)


def _write(path: PathLike, text: str) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(subprocess.call([program.find(), "plan", *sys.argv[1:]]))
