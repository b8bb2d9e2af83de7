"""Results in, figures out; needs the extra ``plot``."""

from __future__ import annotations

from smartfilter.plots.costs import draw_costs
from smartfilter.plots.folder import ReportFolder
from smartfilter.plots.measurement import draw_measurement
from smartfilter.plots.style import use_style

__all__ = ["ReportFolder", "draw_costs", "draw_measurement", "use_style"]
