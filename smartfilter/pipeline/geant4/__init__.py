"""Geant4 in place of the mock detector: a simplified Belle II-like detector.

This is a simplified Belle II-like geometry with Geant4 transport, never Belle II's own
simulation. What it leaves out:

- **Geometry**: concentric cylinders and planes instead of sensors, wires and crystals as
  built; a uniform field; crystals on a regular grid that does not point to the
  interaction point. Hits are layers that saw energy.
- **Physics**: no data files are downloaded. There is no photoelectric effect and no
  Rayleigh scattering (what has less than 0.3 MeV is absorbed on the spot instead),
  bremsstrahlung is the analytic Bethe-Heitler cross section, neutrons fly straight
  through, and nothing is followed after 60 ns.
- **Decays of the generator**: particles that the generator decayed are replaced by their
  daughters where they decay; charged ones are not transported on the way.
- **Reconstruction**: a track is found by its numbers of hits and measured with the
  parametric resolution of the mock detector, on the helix of the true particle. Tracks
  come from generated particles only: not from conversions, kinks or nuclear
  interactions. Particle identification and machine background are the mock detector's.
"""

from __future__ import annotations

# from smartfilter.pipeline.geant4.detector import Geant4Detector


