"""Plots of results: each function takes a result and returns a matplotlib Figure."""

from cxr_cli.data.drawing import import_matplotlib

import_matplotlib()
