"""A run as one HTML page that opens from disk: curves, similarity by step index, and a browser of its rollouts."""

from .report import DEFAULT_MAX_ROLLOUTS, Report, write_report


__all__ = ["DEFAULT_MAX_ROLLOUTS", "Report", "write_report"]
