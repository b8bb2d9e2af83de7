"""FEI skims: newer releases have no default for ``feiPrefix``."""

from __future__ import annotations

from typing import Any

from skim.core import BaseSkim  # type: ignore[import-not-found]


class _FeiSkim(BaseSkim):
    def __init__(self, *, feiPrefix: str, **settings: Any) -> None:
        super().__init__(**settings)


class feiHadronicB0(_FeiSkim):
    pass


class feiHadronicBplus(_FeiSkim):
    pass


class feiHadronic(_FeiSkim):
    pass
