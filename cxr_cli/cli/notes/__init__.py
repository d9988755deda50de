"""What commands say on stderr about a result: notes and warnings, one file per command."""
