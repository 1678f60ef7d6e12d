"""Measured figures: every one a ratio against a named baseline, alternating in one go, medians."""

from xmodal.bench.data import FEEDS, cache, data
from xmodal.bench.learners import learners
from xmodal.bench.length import length
from xmodal.bench.startup import startup
from xmodal.bench.step import step

__all__ = ["FEEDS", "cache", "data", "learners", "length", "startup", "step"]
