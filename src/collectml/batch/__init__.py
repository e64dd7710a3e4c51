"""The nightly job: accounts are read and scored block by block, prices solved, rows checked and written.

Memory is bounded by ``memory``, not by the file; the folder it writes appears whole or not at all.
"""

from .run import BatchResult, score_and_assign
from .sources import load_model

__all__ = ["BatchResult", "load_model", "score_and_assign"]
