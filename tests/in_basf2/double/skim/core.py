"""BaseSkim and CombinedSkim as steering files see them (contract, section 7.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import basf2
from basf2.store import PyStoreObj, store

from smartfilter.pipeline.skims import apply_skims, get_skim


class SkimFlag(basf2.Module):
    """Stores ``passes_<SkimName>``: 0, then 1 if the event passes; returns it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.skim, self.info = get_skim(name), PyStoreObj("EventExtraInfo")

    def initialize(self) -> None:
        self.info.isRequired()

    def event(self) -> None:
        self.info.create()
        flag = f"passes_{self.skim.name}"
        self.info.addExtraInfo(flag, 0)
        result = store.entries["Result"].value
        passed = bool(apply_skims(result, [self.skim])[self.skim.name][0])
        self.info.setExtraInfo(flag, float(passed))
        self.return_value(int(passed))


class BaseSkim:
    def __init__(
        self,
        *,
        OutputFileName: str | None = None,
        additionalDataDescription: dict[str, str] | None = None,
        udstOutput: bool = True,
        validation: bool = False,
        mc: bool = True,
        analysisGlobaltag: str | None = None,
        roundToMdstPrecision: bool = False,
    ) -> None:
        self.name = type(self).__name__
        self.OutputFileName = OutputFileName
        self._udstOutput = udstOutput

    @property
    def code(self) -> str:
        return str(get_skim(self.name).code)

    @property
    def flag(self) -> str:
        return f"passes_{self.name}"

    def __call__(self, path: Any) -> None:
        module = path.add_module(SkimFlag(self.name))
        if self._udstOutput:
            output = basf2.create_path()
            output.add_module(
                "RootOutput",
                outputFileName=self.OutputFileName or f"{self.code}.udst.root",
                branchNames=["MCParticles"],
            )
            module.if_value("==1", output, basf2.AfterConditionPath.CONTINUE)


class AnyFlag(basf2.Module):
    """Returns whether any of the skims is passed."""

    def __init__(self, flags: list[str]) -> None:
        super().__init__()
        self.flags, self.info = flags, PyStoreObj("EventExtraInfo")

    def event(self) -> None:
        self.return_value(int(any(self.info.getExtraInfo(f) for f in self.flags)))


class CombinedSkim(BaseSkim):
    def __init__(
        self,
        *skims: BaseSkim,
        NoisyModules: list[str] | None = None,
        additionalDataDescription: dict[str, str] | None = None,
        udstOutput: bool | None = None,
        mdstOutput: bool = False,
        mdst_kwargs: dict[str, Any] | None = None,
        CombinedSkimName: str = "CombinedSkim",
        OutputFileName: str | None = None,
        mc: bool | None = None,
        analysisGlobaltag: str | None = None,
    ) -> None:
        self.Skims = skims
        self.name = CombinedSkimName
        self.OutputFileName = OutputFileName
        self._mdstOutput = mdstOutput
        for skim in skims:
            if udstOutput is not None:
                skim._udstOutput = udstOutput

    def __iter__(self) -> Iterator[BaseSkim]:
        yield from self.Skims

    def __call__(self, path: Any) -> None:
        for skim in self:
            skim(path)
        if self._mdstOutput:
            from mdst import (  # type: ignore[import-not-found]
                add_mdst_output,
            )

            module = path.add_module(AnyFlag([skim.flag for skim in self]))
            output = basf2.create_path()
            name = self.OutputFileName or self.name
            if not name.endswith(".mdst.root"):
                name += ".mdst.root"
            add_mdst_output(
                output, filename=name, additionalBranches=["EventExtraInfo"]
            )
            module.if_value(">0", output, basf2.AfterConditionPath.CONTINUE)
