"""`ah-ray train` as a job: `ray job submit --working-dir . -- python jobs/train.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
