"""`ah-ray run` as a job: `ray job submit --working-dir . -- python jobs/run.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
