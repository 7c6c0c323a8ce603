"""`ah-ray demo` as a job: `ray job submit --working-dir . -- python jobs/demo.py`."""

import sys

from ah_ray.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
