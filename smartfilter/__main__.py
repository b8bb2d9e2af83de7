"""``python -m smartfilter`` is ``smartfilter``."""

from __future__ import annotations

from smartfilter.cli import main

main()
