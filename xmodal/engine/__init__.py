"""Makes a frozen body cheap: what it says of a sample never changes, so it need not be said twice."""

from xmodal.engine.kept import Kept
from xmodal.engine.learners import Learners
from xmodal.engine.prefix import Prefix, Tail, prefix_of, reader

__all__ = ["Kept", "Learners", "Prefix", "Tail", "prefix_of", "reader"]
