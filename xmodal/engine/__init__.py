"""Makes a frozen body cheap: what it says of a sample never changes, so it need not be said twice."""

from xmodal.engine.kept import Kept
from xmodal.engine.learners import LEAST, Learners, company, share
from xmodal.engine.prefix import Prefix, Tail, prefix_of, reader

__all__ = ["LEAST", "Kept", "Learners", "Prefix", "Tail", "company", "prefix_of", "reader", "share"]
