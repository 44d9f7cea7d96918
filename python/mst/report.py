"""Shapes of the report of `mst plan`."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, TypedDict


class Performance(TypedDict):
    """What was seen at the reported rate."""

    max_sustainable_qps: float
    p50_latency_ms: Optional[float]
    p95_latency_ms: Optional[float]
    p99_latency_ms: Optional[float]
    p95_ttft_ms: Optional[float]
    p99_tbt_ms: Optional[float]
    mean_mfu: Optional[float]
    mean_memory_util: float


class Cost(TypedDict):
    """What it costs; no numbers where no prices are known."""

    cost_per_hour: Optional[float]
    cost_per_1k_requests: Optional[float]
    qps_per_dollar: Optional[float]


class SloCompliance(TypedDict, total=False):
    """Objective by objective; only those that were asked for have a key."""

    meets_all_slos: bool
    ttft_slo_met: bool
    tbt_slo_met: bool
    latency_slo_met: bool


class BestConfiguration(TypedDict):
    """The recommendation."""

    gpu_type: str
    num_gpus_per_replica: int
    tensor_parallel: int
    pipeline_parallel: int
    num_replicas: int
    total_gpus: int
    scheduler: str
    max_batch_size: int
    performance: Performance
    cost: Cost
    slo_compliance: SloCompliance
    interval: List[Optional[float]]
    binding_slo: str
    labels: Dict[str, Optional[str]]


class FrontierPoint(TypedDict):
    """A configuration that nothing beats."""

    config_id: int
    max_qps: float
    cost_per_hour: Optional[float]
    qps_per_dollar: Optional[float]
    gpu_type: str
    total_gpus: int
    interval: List[Optional[float]]
    on_frontier: str


class Candidate(TypedDict):
    """A configuration that was simulated."""

    config: Dict[str, Any]
    max_qps: float
    cost_per_hour: Optional[float]
    qps_per_dollar: Optional[float]
    metrics: Performance
    slo_compliance: SloCompliance


class Dropped(TypedDict):
    """A configuration that was not simulated, and why."""

    config: str
    reason: str


class Summary(TypedDict):
    """What was searched."""

    num_configs_evaluated: int
    num_configs_meeting_slos: int
    total_simulation_time_s: float
    recommendation: str


class Report(TypedDict):
    """What `mst plan --format json` prints."""

    timestamp: str
    input_profile: str
    best_configuration: Optional[BestConfiguration]
    pareto_frontier: List[FrontierPoint]
    all_candidates: List[Candidate]
    dropped: List[Dropped]
    summary: Summary
    text: str
