"""`ah-ray report` as a job: `ray job submit --working-dir . -- python jobs/report.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
