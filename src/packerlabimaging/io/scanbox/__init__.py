"""Scanbox (Neurolabware): movies in ``.sbx`` files with a MATLAB file beside them, and the times of their TTL events."""

from packerlabimaging.io.scanbox.info import ScanboxInfo, read_scanbox_events, read_scanbox_info
from packerlabimaging.io.scanbox.reader import ScanboxMovie, ScanboxReader

__all__ = ["ScanboxInfo", "ScanboxMovie", "ScanboxReader", "read_scanbox_events", "read_scanbox_info"]
