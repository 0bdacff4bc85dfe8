"""Rooms that judge: metrics over logs, paired comparisons with intervals, reports, diagnostics of a log."""

from ultr._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Comparison": "comparison",
        "ComparisonResult": "result",
        "Identifiability": "weight_overlap",
        "Interval": "significance",
        "OffPolicyValue": "off_policy",
        "Overlap": "weight_overlap",
        "effective_sample_size": "weight_overlap",
        "identifiability": "weight_overlap",
        "off_policy_value": "off_policy",
        "overlap": "weight_overlap",
        "paired_interval": "significance",
        "PropensityReport": "exposure_report",
        "propensity_calibration": "exposure_calibration",
        "propensity_report": "exposure_report",
        "two_way_interval": "significance",
    },
)
