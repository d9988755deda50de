"""Pictures of results: each function takes a result and returns a matplotlib Figure."""
