"""`ah-ray prepare` as a job: `ray job submit --working-dir . -- python jobs/prepare.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
