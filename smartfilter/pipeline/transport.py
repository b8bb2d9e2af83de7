"""Transport of charged particles through the tracker, in steps on a helix.

Steps end at surfaces: one that would cross a cylinder or a plane is cut there, and the
matter of the surface acts as a thin layer at the crossing. The gas of the drift chamber
acts at every step. Lengths in cm, momenta in GeV.
"""

from __future__ import annotations

from math import exp, inf, sqrt

from smartfilter.pipeline.geometry import (
    CHAMBER_BACKWARD,
    CHAMBER_FORWARD,
    CHAMBER_INNER,
    CHAMBER_LAYERS,
    CHAMBER_OUTER,
    CHAMBER_SPACING,
    CHAMBER_WALL,
    CYLINDER_AREAL,
    CYLINDER_BACKWARD,
    CYLINDER_FORWARD,
    CYLINDER_RADIATION,
    CYLINDER_RADIUS,
    GAS,
    INTERACTION_LENGTH_SILICON,
    N_CYLINDERS,
    N_PLANES,
    PLANE_AREAL,
    PLANE_RADIATION,
    PLANE_Z,
    SILICON,
    VERTEX_FIRST,
    VERTEX_LAST,
    Material,
    Physics,
)
from smartfilter.pipeline.helix import (
    CURVATURE,
    advance,
    count_surfaces,
    find_crossing,
    find_radius,
    settle_on_cylinder,
)
from smartfilter.pipeline.kernels import inner_kernel, kernel
from smartfilter.pipeline.matter import (
    bremsstrahlung_energy,
    bremsstrahlung_rate,
    cross_matter,
    deflect,
    scattering_angle,
)
from smartfilter.pipeline.random import exponential, uniform
from smartfilter.pipeline.species import ELECTRON, MUON, describe
from smartfilter.pipeline.storage import (
    AREAL,
    CHARGE,
    CODE,
    CURLING,
    FATE,
    FIRST,
    KIND,
    LAST_RADIUS,
    LIMIT,
    MASS,
    MOMENTUM,
    N_CHAMBER,
    N_PHOTONS,
    N_VERTEX,
    OUTWARD,
    PATH,
    PROPER,
    REFERENCE_AREAL,
    REFERENCE_MOMENTUM,
    ROW,
    TRACK,
    UX,
    UY,
    UZ,
    Flight,
    X,
    Y,
    Z,
)

__all__ = [
    "ARRIVED",
    "DECAYED",
    "EXITED",
    "FLYING",
    "INTERACTED",
    "STOPPED",
    "start_flight",
    "transport",
]

FLYING, EXITED, STOPPED, DECAYED, INTERACTED, ARRIVED = range(6)
"""How a flight ends: not yet, at the calorimeter, without energy, by a decay, by a
nuclear interaction, or after the path asked for."""

_RADIATION_CUT = 0.005  # photons below this energy (GeV) are lost on the way
_GAS_RADIATION = GAS.density / GAS.radiation_length
_GAS_TOTAL = (CHAMBER_OUTER - CHAMBER_INNER) * _GAS_RADIATION
_LARGEST_TURN = 0.2  # rad per step
_VERTEX_EFFICIENCY, _CHAMBER_EFFICIENCY = 0.98, 0.95
_SMALLEST_COSINE = 0.05  # of the angle of incidence on a thin layer


@inner_kernel
def _radiate(flight: Flight, thickness: float) -> None:
    """Let an electron radiate in ``thickness`` radiation lengths.

    Photons are kept in ``flight.photons``; those below the cut are lost, and all are once
    64 have been radiated. The rate at the start is an upper bound: thinning corrects for
    the energy lost since.
    """
    state, stream = flight.state, flight.stream
    p = state[MOMENTUM]
    p *= exp(-4.0 / 3.0 * thickness * _RADIATION_CUT / p)
    rate = bremsstrahlung_rate(p, _RADIATION_CUT)
    left = thickness * rate - exponential(stream)
    while left > 0.0 and p > _RADIATION_CUT:
        if uniform(stream) * rate < bremsstrahlung_rate(p, _RADIATION_CUT):
            energy = bremsstrahlung_energy(stream, p, _RADIATION_CUT)
            n = flight.identity[N_PHOTONS]
            if n < len(flight.photons):
                for i in range(3):
                    flight.photons[n, i] = state[X + i]
                    flight.photons[n, 3 + i] = energy * state[UX + i]
                flight.identity[N_PHOTONS] = n + 1
            p = max(p - energy, 1e-9)
        left -= exponential(stream)
    state[MOMENTUM] = p


@inner_kernel
def _act(
    flight: Flight,
    physics: Physics,
    material: Material,
    areal: float,
    thickness: float,
    total: float,
) -> None:
    """Act with matter: radiation, energy loss, scattering.

    ``thickness`` is in radiation lengths, part of a layer of ``total``.
    """
    state, mass = flight.state, flight.state[MASS]
    if physics.energy_loss:
        straggling = physics.straggling
        if flight.identity[KIND] == ELECTRON and straggling:
            _radiate(flight, thickness)
        p = state[MOMENTUM]
        p = cross_matter(flight.stream, mass, p, areal, material, straggling)
        state[MOMENTUM] = p
        if p <= 0.0:
            flight.identity[FATE] = STOPPED
            return
    if physics.scattering:
        width = scattering_angle(mass, state[MOMENTUM], thickness, total)
        deflect(flight.stream, state, width)
    state[AREAL] += areal


@inner_kernel
def _act_gas(flight: Flight, physics: Physics, path: float) -> None:
    """Act with the gas along a path just flown.

    The path is bent in its middle, not at its end: the variance of the displacement
    is that of continuous scattering to second order in the step.
    """
    state = flight.state
    ux, uy, uz, half = state[UX], state[UY], state[UZ], 0.5 * path
    areal, thickness = path * GAS.density, path * _GAS_RADIATION
    _act(flight, physics, GAS, areal, thickness, _GAS_TOTAL)
    state[X] += half * (state[UX] - ux)
    state[Y] += half * (state[UY] - uy)
    state[Z] += half * (state[UZ] - uz)


@inner_kernel
def _cross_layer(
    flight: Flight, physics: Physics, areal: float, thickness: float, cosine: float
) -> None:
    """Act with a thin layer, met at this cosine of the angle of incidence."""
    if thickness > 0.0:
        slant = 1.0 / max(abs(cosine), _SMALLEST_COSINE)
        x0 = slant * thickness
        _act(flight, physics, SILICON, slant * areal, x0, x0)


@inner_kernel
def _record_hit(flight: Flight, radius: float) -> None:
    """Count a hit; remember the state at the first and the last one."""
    state, identity = flight.state, flight.identity
    if identity[N_VERTEX] + identity[N_CHAMBER] == 0:
        for i in range(7):
            state[FIRST + i] = state[i]
    if identity[N_CHAMBER] == 0:
        state[REFERENCE_MOMENTUM] = state[MOMENTUM]
        state[REFERENCE_AREAL] = state[AREAL]
    state[LAST_RADIUS] = radius
    identity[OUTWARD] = 1
    if radius < CHAMBER_INNER:
        identity[N_VERTEX] += 1
    else:
        identity[N_CHAMBER] += 1


@inner_kernel
def _cross_cylinder(
    flight: Flight, physics: Physics, index: int, outward: bool
) -> None:
    """Act with a cylinder, if the particle meets its sensitive length, and count.

    Hits are those of the first way out: a curling track gives none after it turned back.
    Nuclear interactions take place up to the wall of the chamber; behind it they are
    those of the calorimeter.
    """
    state, identity = flight.state, flight.identity
    inner = index <= CHAMBER_WALL
    if inner and not CYLINDER_BACKWARD[index] < state[Z] < CYLINDER_FORWARD[index]:
        return
    radius = find_radius(state)
    cosine = (state[X] * state[UX] + state[Y] * state[UY]) / radius
    areal, thickness = CYLINDER_AREAL[index], CYLINDER_RADIATION[index]
    before = state[AREAL]
    _cross_layer(flight, physics, areal, thickness, cosine)
    hadron = identity[KIND] > MUON
    if inner and hadron and physics.interactions and identity[FATE] == FLYING:
        chance = (state[AREAL] - before) / INTERACTION_LENGTH_SILICON
        if uniform(flight.stream) < chance:
            identity[FATE] = INTERACTED
    if not outward and identity[OUTWARD] == 1:
        identity[CURLING] = 1
    if (
        VERTEX_FIRST <= index <= VERTEX_LAST
        and identity[FATE] == FLYING
        and outward
        and identity[CURLING] == 0
        and uniform(flight.stream) < _VERTEX_EFFICIENCY
    ):
        _record_hit(flight, radius)


@inner_kernel
def _count_layers(radius: float) -> int:
    """Return the number of chamber layers inside a radius."""
    layers = int((radius - CHAMBER_INNER) / CHAMBER_SPACING + 0.5)
    return min(max(layers, 0), CHAMBER_LAYERS)


@inner_kernel
def _collect_chamber_hits(
    flight: Flight, before: float, z: float, radius: float
) -> None:
    """Count the chamber layers crossed on the first way out.

    The step began at the radius ``before`` and at ``z`` and ends at ``radius``; a layer
    is as long as the wires, wherever the step ends.
    """
    state, identity = flight.state, flight.identity
    if identity[CURLING] == 1:
        return
    first, last = _count_layers(before), _count_layers(radius)
    if last < first and identity[OUTWARD] == 1:
        identity[CURLING] = 1
    while first < last:
        layer = CHAMBER_INNER + (first + 0.5) * CHAMBER_SPACING
        height = z + (layer - before) / (radius - before) * (state[Z] - z)
        if (
            CHAMBER_BACKWARD < height < CHAMBER_FORWARD
            and uniform(flight.stream) < _CHAMBER_EFFICIENCY
        ):
            _record_hit(flight, layer)
        first += 1


@inner_kernel
def _choose_step(flight: Flight, physics: Physics, curvature: float) -> float:
    """Return the longest step that ends before the flight does."""
    state = flight.state
    path: float = min(physics.step, state[LIMIT] - state[PATH])
    if state[PROPER] * state[MOMENTUM] < path * state[MASS]:
        path = state[PROPER] * state[MOMENTUM] / state[MASS]
    if abs(curvature) * path > _LARGEST_TURN:
        path = _LARGEST_TURN / abs(curvature)
    return path


@kernel
def start_flight(
    flight: Flight,
    pdg: int,
    row: int,
    x: float,
    y: float,
    z: float,
    px: float,
    py: float,
    pz: float,
) -> None:
    """Put a particle at a point (cm) with a momentum (GeV); stable, without path limit."""
    state, identity = flight.state, flight.identity
    for i in range(len(state)):
        state[i] = 0.0
    for i in range(len(identity)):
        identity[i] = 0
    p = sqrt(px * px + py * py + pz * pz)
    state[X], state[Y], state[Z], state[MOMENTUM] = x, y, z, p
    if p > 0.0:
        state[UX], state[UY], state[UZ] = px / p, py / p, pz / p
    kind, charge, mass, _ = describe(pdg)
    state[MASS], state[LIMIT], state[PROPER] = mass, inf, inf
    identity[CODE], identity[ROW], identity[TRACK] = pdg, row, -1
    identity[KIND], identity[CHARGE], identity[FATE] = kind, charge, FLYING


@inner_kernel
def _end_if_due(flight: Flight) -> None:
    """End the flight at its path limit or decay."""
    state = flight.state
    if state[PROPER] < 1e-9:
        flight.identity[FATE] = DECAYED
    elif state[PATH] > state[LIMIT] - 1e-9:
        flight.identity[FATE] = ARRIVED


@kernel
def transport(flight: Flight, physics: Physics) -> None:
    """Fly a charged particle from inside the tracker until its end.

    Parameters
    ----------
    flight : Flight
        Prepared by `start_flight`, with path limit and decay; changed in place. A charge
        of 0 flies straight.
    physics : Physics
    """
    state, identity = flight.state, flight.identity
    bend = CURVATURE * physics.field * identity[CHARGE]
    radius = find_radius(state)
    shell = count_surfaces(radius, CYLINDER_RADIUS)
    slab = count_surfaces(state[Z], PLANE_Z)
    while identity[FATE] == FLYING:
        curvature = bend / state[MOMENTUM]
        path = _choose_step(flight, physics, curvature)
        x, y, z, ux, uy = state[X], state[Y], state[Z], state[UX], state[UY]
        before = radius
        advance(state, path, curvature)
        radius = find_radius(state)
        change, side, fraction = find_crossing(state, radius, x, y, z, shell, slab)
        if change != 0 or side != 0:
            state[X], state[Y], state[Z], state[UX], state[UY] = x, y, z, ux, uy
            path *= fraction
            advance(state, path, curvature)
            if change != 0:
                circle = CYLINDER_RADIUS[shell + min(change, 0)]
                path += settle_on_cylinder(state, circle, curvature)
            radius = find_radius(state)
        state[PATH] += path
        state[PROPER] -= path * state[MASS] / state[MOMENTUM]
        if shell == CHAMBER_WALL + 1 and slab == 2:
            _act_gas(flight, physics, path)
            if identity[FATE] != FLYING:
                return
            _collect_chamber_hits(flight, before, z, radius)
        if change != 0:
            index = shell + min(change, 0)
            shell += change
            _cross_cylinder(flight, physics, index, change > 0)
        elif side != 0:
            index = slab + min(side, 0)
            slab += side
            areal, thickness = PLANE_AREAL[index], PLANE_RADIATION[index]
            _cross_layer(flight, physics, areal, thickness, state[UZ])
        else:
            _end_if_due(flight)
        if shell == N_CYLINDERS or slab in (0, N_PLANES):
            identity[FATE] = EXITED
