"""What people read.

A committee report is one payload of numbers, checked before anything is rendered, and one self-contained page made from it:
static drawings with a table behind each, no script, nothing fetched from outside.
"""

from .blocks import Approval
from .committee import CommitteeReport
from .inert import inert_csv
from .payload import BrokenIdentityError, assignment_digest, build_payload, payload_digest
from .printed import printed_checks
from .words import MissingTranslationError

__all__ = [
    "Approval",
    "BrokenIdentityError",
    "CommitteeReport",
    "MissingTranslationError",
    "assignment_digest",
    "build_payload",
    "inert_csv",
    "payload_digest",
    "printed_checks",
]
