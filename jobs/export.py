"""`ah-ray export` as a job: `ray job submit --working-dir . -- python jobs/export.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
