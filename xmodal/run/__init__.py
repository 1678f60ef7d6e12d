"""Time passes here: the loop that yields events, checkpoints, and the run folder."""
