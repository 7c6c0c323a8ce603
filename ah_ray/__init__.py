"""Find ambivalence and hesitancy in large video archives with ensembles of multimodal LLMs."""

import os

__version__ = "0.1.0"

# Ray warns of many worker processes where tasks share CPUs, which decoders do on purpose, and says
# so in the middle of our progress. Ray reads this when it is imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started on node")
