"""Describe a label table and its images: counts, patients, prevalence, possible shortcuts, image issues."""
