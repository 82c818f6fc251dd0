"""Features that only some specimens and techniques show: phases, interference colours, relief, grooves, dark field."""

from dataclasses import replace

import numpy as np

from crystalseg.synthetic.appearance import Look
from crystalseg.synthetic.packing import GROWN, POLYCRYSTALS
from crystalseg.synthetic.structure import Structure

POLYCRYSTALLINE = ("two phases", "interference", "relief", "grooved", "dark field")


def with_technique(rng: np.random.Generator, look: Look, structure: Structure) -> Look:
    """Return the look as it is, or, in about half of all cases, as another technique or a specimen of several phases
    shows it."""
    tone, streaks = rng.choice([-1, 1]) * rng.uniform(0.03, 0.18), rng.choice([1.0, 1.0, rng.uniform(2, 8)])
    look = replace(look, tone=float(tone), streaks=float(streaks))
    if structure.kind in (*GROWN, "agglomerates"):
        return _particles(rng, look)
    if structure.kind == "single":
        return look
    if structure.kind not in POLYCRYSTALS:
        return replace(look, relief=float(rng.uniform(0.1, 0.5))) if rng.random() < 0.15 else look
    if rng.random() < 0.45:
        return look
    technique = str(rng.choice(POLYCRYSTALLINE, p=(0.25, 0.35, 0.15, 0.15, 0.1)))
    return _polycrystal(rng, look, technique)


def _polycrystal(rng: np.random.Generator, look: Look, technique: str) -> Look:
    if technique == "two phases":
        other = np.clip(np.mean(look.crystal) + rng.choice([-1, 1]) * rng.uniform(0.2, 0.5), 0.05, 0.95)
        return replace(look, phases=((float(other),) * 3,), line=look.line or -0.25)
    if technique == "interference":
        # Hues of one series, as a retardation plate gives them. Some hardly differ.
        base, axis = np.array(look.crystal), rng.normal(0, 1, (2, 3))
        hues = base + rng.uniform(-1, 1, (rng.integers(2, 5), 2)) @ axis * rng.uniform(0.08, 0.22)
        return replace(
            look,
            phases=tuple((float(r), float(g), float(b)) for r, g, b in np.clip(hues, 0.05, 0.95)),
            colour_spread=float(rng.uniform(0.02, 0.06)),
            brightness_spread=float(rng.uniform(0.02, 0.08)),
            line=float(rng.choice([0.0, 0.0, -0.12])),
            gray=False,
        )
    if technique == "relief":
        return replace(look, relief=float(rng.uniform(0.2, 0.8)), line=look.line * 0.5 or -0.1)
    if technique == "grooved":
        return replace(look, gray=True, line=-float(rng.uniform(0.2, 0.6)), groove=float(rng.uniform(0.1, 0.4)))
    dark = (float(rng.uniform(0.03, 0.2)),) * 3
    spread = min(look.brightness_spread, 0.04)
    return replace(look, crystal=dark, brightness_spread=spread, line=float(rng.uniform(0.2, 0.7)), gray=True)


def _particles(rng: np.random.Generator, look: Look) -> Look:
    """Draw particles bright on dark or dark on bright, in relief or flat, on a ground of any brightness."""
    ground = float(rng.uniform(0.03, 0.9))
    apart = rng.uniform(0.15, 0.5) * (1 if ground < 0.4 else -1 if ground > 0.6 else rng.choice([-1, 1]))
    return replace(
        look,
        gray=bool(rng.random() < 0.8),
        crystal=(float(np.clip(ground + apart, 0.05, 0.95)),) * 3,
        matrix=(ground,) * 3,
        colour_spread=float(rng.choice([0.0, 0.04])),
        brightness_spread=float(rng.uniform(0.02, 0.1)),
        rim=float(rng.uniform(0, 0.4)),
        line=float(rng.uniform(-0.3, 0.1)),
        shading=float(rng.choice([0.0, rng.uniform(0, 0.3)])),
        scratches=0,
        pores=0,
    )
