"""`ah-ray augment` as a job: `ray job submit --working-dir . -- python jobs/augment.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["augment", *sys.argv[1:]])
