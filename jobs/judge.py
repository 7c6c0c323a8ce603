"""`ah-ray judge` as a job: `ray job submit --working-dir . -- python jobs/judge.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["judge", *sys.argv[1:]])
