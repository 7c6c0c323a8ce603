"""Find ambivalence and hesitancy in large video archives with ensembles of multimodal LLMs."""

__version__ = "0.1.0"
