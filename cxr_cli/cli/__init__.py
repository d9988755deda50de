"""The terminal: the only part of the package that uses typer and rich."""
