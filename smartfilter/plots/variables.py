"""How figures call the event-level variables: the field's symbols, with units."""

from __future__ import annotations

__all__ = ["LABELS", "label_variable"]

LABELS = {
    "overflow": "overflow bits",
    "n_tracks": "number of tracks",
    "total_charge": r"total charge ($e$)",
    "n_clusters": "number of clusters",
    "n_pi0": r"number of $\pi^0$ candidates",
    "n_k_short": r"number of $K_S^0$ candidates",
    "n_lambda": r"number of $\Lambda$ candidates",
    "n_jpsi": r"number of $J/\psi$ candidates",
    "n_d": r"number of $D$ candidates",
    "n_dstar": r"number of $D^*$ candidates",
    "n_dstar_hh": r"number of $D^{*+} \to D^0(hh)\,\pi^+$",
    "n_b0": r"number of $B^0$ candidates",
    "n_bplus": r"number of $B^+$ candidates",
    "n_b0_pi0pi0": r"number of $B^0 \to \pi^0 \pi^0$",
    "b0_mode": r"mode of the best $B^0$",
    "bplus_mode": r"mode of the best $B^+$",
    "b0_probability": r"signal probability, $B^0$",
    "b0_mbc": r"$M_{\mathrm{bc}}$, $B^0$ (GeV/$c^2$)",
    "b0_delta_e": r"$\Delta E$, $B^0$ (GeV)",
    "bplus_probability": r"signal probability, $B^+$",
    "bplus_mbc": r"$M_{\mathrm{bc}}$, $B^+$ (GeV/$c^2$)",
    "bplus_delta_e": r"$\Delta E$, $B^+$ (GeV)",
    "r2": r"$R_2$",
    "thrust": "thrust",
    "sphericity": "sphericity",
    "visible_energy": "visible energy, CM (GeV)",
    "missing_energy": "missing energy, CM (GeV)",
    "missing_mass2": r"missing mass$^2$ (GeV$^2$/$c^4$)",
    "lepton_momentum": r"largest $p_\ell$, CM (GeV/$c$)",
    "photon_energy": r"largest $E_\gamma$, CM (GeV)",
}
"""Labels of `smartfilter.pipeline.simulation.VARIABLE_NAMES`."""


def label_variable(name: str) -> str:
    """Return the label of a variable; the name of one that is not ours."""
    return LABELS.get(name, name)
