"""Signatures of basf2's ``generators`` (contract, section 7.1)."""

from __future__ import annotations

from typing import Any

import basf2


def add_evtgen_generator(
    path: Any,
    finalstate: str = "",
    signaldecfile: str | None = None,
    coherentMixing: bool = True,
    parentParticle: str = "Upsilon(4S)",
    eventType: str = "",
) -> None:
    if finalstate not in ("charged", "mixed"):
        basf2.B2FATAL(f"add_evtgen_generator final state not supported: {finalstate}")
    path.add_module(
        "EvtGenInput",
        userDECFile=f"{finalstate}.dec",
        CoherentMixing=coherentMixing,
        ParentParticle=parentParticle,
        eventType=eventType,
    )


def add_continuum_generator(
    path: Any,
    finalstate: str,
    userdecfile: str = "",
    useevtgenparticledata: int = 0,
    *,
    skip_on_failure: bool = True,
    eventType: str = "",
) -> None:
    if finalstate not in ("uubar", "ddbar", "ssbar", "ccbar"):
        basf2.B2FATAL(f"add_continuum_generator not supported: {finalstate}")
    path.add_module("KKGenInput", tauinputFile=f"{finalstate}_nohadronization.dat")
    fragmentation = path.add_module(
        "Fragmentation",
        UserDecFile=userdecfile,
        useEvtGenParticleData=useevtgenparticledata,
        eventType=eventType,
        quarks=finalstate,
    )
    if skip_on_failure:
        fragmentation.if_value("<1", basf2.create_path())


def add_kkmc_generator(path: Any, finalstate: str = "", eventType: str = "") -> None:
    if finalstate not in ("mu+mu-", "tau+tau-"):
        basf2.B2FATAL(f"add_kkmc_generator final state not supported: {finalstate}")
    path.add_module(
        "KKGenInput",
        tauinputFile="tau.input.dat",
        taudecaytableFile="tau_decaytable.dat",
        eventType=eventType,
    )
