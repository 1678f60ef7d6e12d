"""Makes a frozen body cheap: what never changes is not computed twice, not held twice, and held in few bits."""

from xmodal.engine.kept import Kept
from xmodal.engine.learners import LEAST, Learners, company, share
from xmodal.engine.prefix import Prefix, Tail, Upper, left_of, prefix_of, reader
from xmodal.engine.rows import Rows, rows_of
from xmodal.engine.surgery import Surgery, operate

__all__ = [
    "LEAST",
    "Kept",
    "Learners",
    "Prefix",
    "Rows",
    "Surgery",
    "Tail",
    "Upper",
    "company",
    "left_of",
    "operate",
    "prefix_of",
    "reader",
    "rows_of",
    "share",
]
