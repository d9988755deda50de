"""``cxr predict``: probabilities of a classifier for stored images, a table or a folder."""
