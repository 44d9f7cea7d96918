"""Plans a deployment and draws what is to be had: what it costs against what it bears, with intervals.

    pip install ./python matplotlib
    python examples/plan.py --model meta-llama/Meta-Llama-3-8B --demand 20 --output plan.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mst.program import run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True, help="a name of mst's catalog, or a config.json")
    arguments.add_argument("--demand", type=float, default=10.0, help="requests a second")
    arguments.add_argument("--gpus", default="A100,H100,L40S", help="separated by commas")
    arguments.add_argument("--output", type=Path, default=Path("plan.png"))
    given = arguments.parse_args()
    request = given.output.with_suffix(".yaml")
    request.write_text(
        f"""demand_qps: {given.demand}
workload:
  prompt_length: {{distribution: normal, mean: 1024, std: 256}}
  output_length: {{distribution: normal, mean: 256, std: 64}}
constraints: {{max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}}
config_space: {{gpu_types: [{given.gpus}], num_gpus: [1, 2, 4], num_replicas: [1, 2, 4], schedulers: [vllm_v1], max_batch_sizes: [128]}}
"""
    )
    report = run(["plan", "--model", given.model, "--workload", str(request), "--format", "json"])
    draw(report, given.output)
    print(report["summary"]["recommendation"])


def draw(report: dict, output: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 5))
    for candidate in report["all_candidates"]:
        axes.plot(candidate["cost_per_hour"], candidate["max_qps"], ".", color="lightgrey")
    for gpu in sorted({point["gpu_type"] for point in report["pareto_frontier"]}):
        points = [point for point in report["pareto_frontier"] if point["gpu_type"] == gpu]
        middle = [point["max_qps"] for point in points]
        low = [point["max_qps"] - point["interval"][0] for point in points]
        # No upper end: the highest rate that was asked for is reached.
        high = [(point["interval"][1] or point["max_qps"]) - point["max_qps"] for point in points]
        axes.errorbar([p["cost_per_hour"] for p in points], middle, yerr=[low, high], fmt="o", capsize=3, label=gpu)
    axes.axhline(report["needed_qps"], color="black", linewidth=1, linestyle=":", label="needed")
    axes.set(xscale="log", yscale="log", xlabel="cost an hour", ylabel="requests a second")
    axes.legend()
    figure.savefig(output, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
