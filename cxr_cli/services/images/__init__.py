"""Turn one image file into standardized pixels. Light enough for worker processes: no pandas."""
