"""Geant4 in place of the mock detector: a simplified Belle II-like detector.

This is a simplified Belle II-like geometry with Geant4 transport, never Belle II's own
simulation. What it leaves out:

- **Geometry**: concentric cylinders and planes instead of sensors, wires and crystals as
  built; a uniform field; crystals on a regular grid that does not point to the
  interaction point. Hits are layers that saw energy.
- **Physics**: no data files are downloaded. There is no photoelectric effect and no
  Rayleigh scattering (what has less than 0.3 MeV is absorbed on the spot instead),
  bremsstrahlung is the analytic Bethe-Heitler cross section, neutrons neither scatter
  elastically nor are captured and interact with a geometric cross section, nuclei are
  left without excited states, and nothing is followed after 60 ns.
- **Decays of the generator**: particles that the generator decayed in the tracker are
  replaced by their daughters; charged ones are not transported on the way.
- **Reconstruction**: a track is found by the numbers of layers that its particle hit and
  is measured with the parametric resolution of the mock detector, on the helix of the
  particle as it was made. Charged secondaries above 20 MeV that a generated particle
  makes in the tracker (conversions, decays in flight, nuclear interactions) are shot
  separately and may have tracks; their daughters count to them. Particle
  identification, merging of clusters and machine background are the mock detector's.
"""

from __future__ import annotations

from smartfilter.pipeline.geant4.detector import Geant4Detector

__all__ = ["Geant4Detector"]
