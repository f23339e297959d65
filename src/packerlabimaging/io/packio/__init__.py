"""PackIO recordings: several analogue and TTL channels sampled together, read and written.

:mod:`.header` parses what stands before the samples, :mod:`.channels` reads columns of them, :mod:`.reader` is the reader of
the package, :mod:`.writer` makes the same files.
"""

from packerlabimaging.io.packio.channels import PaqChannel, iter_channels
from packerlabimaging.io.packio.header import PaqHeader, read_paq_header
from packerlabimaging.io.packio.reader import PackIOReader
from packerlabimaging.io.packio.writer import PaqWriter, write_paq

__all__ = ["PackIOReader", "PaqChannel", "PaqHeader", "PaqWriter", "iter_channels", "read_paq_header", "write_paq"]
