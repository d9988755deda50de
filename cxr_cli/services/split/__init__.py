"""Divide patients into splits or folds that keep the prevalence of each pathology."""
