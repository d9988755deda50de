"""Keras code: the only package that imports tensorflow or keras at module level.

Importing it registers the project's losses and metrics, so that ``keras.models.load_model`` knows them.
"""

from cxr_cli.services.keras_backend import check_backend

check_backend()

from cxr_cli.models import losses, metrics  # noqa: E402

__all__ = ["losses", "metrics"]
