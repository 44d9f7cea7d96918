"""Tests of the package, with the program that $MST names."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

from mst import MstError
from mst.capacity_planning import CapacityPlanner, run_capacity_planning

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "tests/golden/plan/documented/fitted_profile.json"
SPACE = {"gpu_types": ["A100"], "num_gpus": [1], "num_replicas": [1, 2], "schedulers": ["vllm_v1"], "max_batch_sizes": [64]}
WORKLOAD = {"arrival_rate_range": [0.5, 20]}


class Package(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_files_make_a_report(self) -> None:
        request = self.folder / "request.yaml"
        request.write_text(json.dumps({"workload": WORKLOAD, "config_space": SPACE}))
        output = self.folder / "results" / "plan.json"
        results = run_capacity_planning(
            profile_path=PROFILE, workload_config=request, output_path=output, prices="none"
        )
        best = results["best_configuration"]
        self.assertEqual(best["gpu_type"], "A100-80 SXM")
        self.assertGreaterEqual(best["performance"]["max_sustainable_qps"], 0.6)
        self.assertIsNone(best["cost"]["cost_per_hour"])
        written = json.loads(output.read_text())
        self.assertEqual(written["best_configuration"], best)
        self.assertEqual(output.with_suffix(".txt").read_text(), results["text"])

    def test_a_planner_searches_and_saves(self) -> None:
        planner = CapacityPlanner(profile_path=PROFILE)
        results = planner.search(
            config_space=SPACE, constraints={"max_cost_per_hour": 50.0, "max_tbt_p99_ms": 200}, workload_desc=WORKLOAD
        )
        self.assertTrue(results["best_configuration"]["slo_compliance"]["tbt_slo_met"])
        planner.save_report(results, self.folder / "a" / "plan.json")
        planner.save_summary(results, self.folder / "a" / "plan.txt")
        self.assertEqual(json.loads((self.folder / "a" / "plan.json").read_text()), results)
        self.assertIn("RECOMMENDED CONFIGURATION", (self.folder / "a" / "plan.txt").read_text())

    def test_nothing_feasible_is_a_report(self) -> None:
        planner = CapacityPlanner(profile_path=PROFILE)
        results = planner.search(config_space=SPACE, constraints={"max_tbt_p99_ms": 0.5}, workload_desc=WORKLOAD)
        self.assertIsNone(results["best_configuration"])
        self.assertTrue(results["nearest_misses"])

    def test_bad_input_is_told_in_the_words_of_the_program(self) -> None:
        planner = CapacityPlanner(profile_path=PROFILE)
        with self.assertRaises(MstError) as told:
            planner.search(config_space={"gpu_type": ["A100"]}, workload_desc=WORKLOAD)
        self.assertEqual(told.exception.exit_code, 3)
        self.assertIn("gpu_types", str(told.exception))
        with self.assertRaises(FileNotFoundError):
            planner.calibrate(telemetry_path=self.folder / "nowhere.json")

    def test_telemetry_that_is_too_short_is_told(self) -> None:
        planner = CapacityPlanner(profile_path=PROFILE)
        planner.calibrate(telemetry_path=ROOT / "tests/golden/plan/telemetry.json")
        with self.assertRaises(MstError) as told:
            planner.search(config_space=SPACE, workload_desc=WORKLOAD)
        self.assertIn("iterations are logged", str(told.exception))

    def test_ctrl_c_ends_the_program(self) -> None:
        wrapper, pid = self.folder / "mst", self.folder / "pid"
        program = os.environ["MST"]
        wrapper.write_text(f'#!/bin/sh\necho $$ >"{pid}.part" && mv "{pid}.part" "{pid}"\nexec "{program}" "$@"\n')
        wrapper.chmod(0o755)
        script = textwrap.dedent(
            f"""
            from mst.capacity_planning import CapacityPlanner
            planner = CapacityPlanner({str(PROFILE)!r}, mst={str(wrapper)!r})
            planner.search(config_space={{"gpu_types": ["A100", "H100", "A10G"]}}, workload_desc={{"arrival_rate_range": [1, 1000]}})
            """
        )
        # Whoever starts the tests in the background has Ctrl-C ignored.
        caller = subprocess.Popen(
            [sys.executable, "-c", script],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 60
        while not pid.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(pid.read_text())
        caller.send_signal(signal.SIGINT)
        _, said = caller.communicate(timeout=60)
        self.assertIn("KeyboardInterrupt", said)
        with self.assertRaises(ProcessLookupError):
            os.kill(child, 0)


if __name__ == "__main__":
    unittest.main()
