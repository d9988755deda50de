"""Functions for the cluster tests, in a module of their own so that workers can import them by name."""

import hashlib
import time


def slow_digest(text: str) -> str:
    """Return a digest of the text, after long enough for a worker to be killed meanwhile."""
    time.sleep(0.05)
    return hashlib.sha256(text.encode()).hexdigest()
