"""``cxr train``: a classifier trained in stages on stored images."""
