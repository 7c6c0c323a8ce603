"""`ah-ray catalog` as a job: `ray job submit --working-dir . -- python jobs/catalog.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["catalog", *sys.argv[1:]])
