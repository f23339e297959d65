from ._style import style
from .cells import traces
from .images import fov, image, roi_outlines
from .motion import registration
from .peristim import peristim_average, peristim_heatmap
from .photostim import response_raster, response_volcano, target_match
from .sync_audit import sync_audit
from .synchronisation import clock, signals
from .truth import comparison

__all__ = [
    "clock",
    "comparison",
    "fov",
    "image",
    "peristim_average",
    "peristim_heatmap",
    "registration",
    "response_raster",
    "response_volcano",
    "roi_outlines",
    "signals",
    "style",
    "sync_audit",
    "target_match",
    "traces",
]
