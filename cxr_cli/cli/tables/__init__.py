"""Results as tables for the terminal: one file per command, the twin of plots/."""
