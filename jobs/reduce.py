"""`ah-ray reduce` as a job: `ray job submit --working-dir . -- python jobs/reduce.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["reduce", *sys.argv[1:]])
