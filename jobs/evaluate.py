"""`ah-ray evaluate` as a job: `ray job submit --working-dir . -- python jobs/evaluate.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
