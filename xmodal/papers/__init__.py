"""Papers: their numbers, which recipe each of them is, and ours beside them."""
