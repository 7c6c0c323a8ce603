"""`ah-ray tune` as a job: `ray job submit --working-dir . -- python jobs/tune.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
