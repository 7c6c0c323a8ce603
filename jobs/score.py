"""`ah-ray score` as a job: `ray job submit --working-dir . -- python jobs/score.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
