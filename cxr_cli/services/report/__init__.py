"""Collect the results of all commands into one page: data card, model card, chain of custody, checklists."""
