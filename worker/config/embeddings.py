"""Text embeddings from the model that the wordllama wheel carries; nothing is downloaded."""

import os
from functools import cache
from pathlib import Path

# One thread per process: the pool already has as many processes as the task has CPUs, and threads do not survive fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import wordllama

MODEL = "wordllama l2_supercat"
DIMENSIONS = 256


@cache
def _model():
    return wordllama.WordLlama.load(dim=DIMENSIONS, cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def embed(texts: list[str]) -> np.ndarray:
    """Return the unit vectors of `texts`, float32 of shape (len(texts), 256); their dot product is the similarity."""
    if not texts:
        return np.zeros((0, DIMENSIONS), np.float32)
    return _model().embed(texts, norm=True)
