"""The decoders of kornia_rs, or None on platforms for which it has no wheel: Pillow decodes there, more slowly.

Its PNG decoder is about four times as fast as Pillow's and gives the same pixels; its JPEG decoder is stricter.
"""

from __future__ import annotations

from typing import Any


def _load() -> Any:
    try:
        from kornia_rs import io
    except ImportError:
        return None
    return io


kornia: Any = _load()
