"""Measured figures: every one a ratio against a named baseline, alternating in one go, medians."""

from xmodal.bench.lengths import length
from xmodal.bench.reading import FEEDS, cache, data
from xmodal.bench.sharing import learners
from xmodal.bench.starting import startup
from xmodal.bench.steps import step

__all__ = ["FEEDS", "cache", "data", "learners", "length", "startup", "step"]
