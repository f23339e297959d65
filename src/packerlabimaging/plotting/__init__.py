"""Plots (``pl``): data and tables in, matplotlib Axes out.

Every function draws into ``ax`` where one is given, and otherwise into a new figure of its own that pyplot does not know
(nothing global changes, nothing has to be closed). It returns the Axes, or a dictionary of them where there are several
panels, and never shows or saves anything. ``plot(...).figure.savefig("name.pdf")`` saves; to see a plot in a notebook or a
window, pass an axes of pyplot::

    figure, ax = plt.subplots()
    pli.pl.fov(image, rois=rois, ax=ax)

Colours are told apart by colour-blind readers; images have y down; dF/F is shown in per cent.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
