"""`ah-ray groups` as a job: `ray job submit --working-dir . -- python jobs/groups.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["groups", *sys.argv[1:]])
