"""``python -m packerlabimaging.cli`` is ``pli``."""

from packerlabimaging.cli.app import main

if __name__ == "__main__":
    main()
