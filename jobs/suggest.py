"""`ah-ray suggest` as a job: `ray job submit --working-dir . -- python jobs/suggest.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["suggest", *sys.argv[1:]])
