"""``python -m collectml``: the same as the ``collectml`` command."""

from collectml.cli import main

main()
