"""The nightly job: accounts are read and scored block by block, prices solved, rows checked and written.

Memory is bounded by ``memory``, not by the file; the folder it writes appears whole or not at all.
"""

from .run import BatchResult, score_and_assign

__all__ = ["BatchResult", "score_and_assign"]
