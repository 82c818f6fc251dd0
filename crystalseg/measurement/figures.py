"""Every size figure of a sample by name: value, unit, the standard whose formula it is, and sampling uncertainty.

A sample is one or more fields (images) of one material; its figures are those of all fields' crystals together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crystalseg.measurement.distribution import percentiles, sizes_and_weights
from crystalseg.measurement.field import Field, in_one_unit
from crystalseg.measurement.grain_size import g_of_area, g_of_count, g_of_intercept
from crystalseg.measurement.intercept import Pattern

RESAMPLES = 400
FEW_FIELDS = 8  # the spread between fewer is itself known too badly to stand alone
# One grain-size number changes so much when every length changes by the factor e: 2·log2(e) (E112-13 clause 15).
G_PER_LENGTH = 2 * float(np.log2(np.e))


@dataclass(frozen=True)
class Definition:
    """What a figure is. words: its name; power: the power of the pixel size it scales with (1 a length, 0 a share, −2 a
    number per area), or "G" for a grain-size number; standard: whose formula it is; is_share: whether its errors are
    shares themselves."""

    words: str
    power: int | str
    standard: str
    is_share: bool = False

    @property
    def is_relative(self) -> bool:
        """Whether its errors are relative to its value, and not differences."""
        return self.power != "G" and not self.is_share


@dataclass(frozen=True)
class Figure:
    """A figure of a sample. sampling: its standard uncertainty from which crystals or fields were seen, NaN if unknown;
    how: what that is from; fields: the figure of each field alone, NaN where a field has none; label: if it needs one
    beside its definition's; freedom: degrees of freedom of `sampling`."""

    key: str
    value: float
    unit: str
    sampling: float
    how: str
    fields: tuple[float, ...] = ()
    label: str = ""
    freedom: float = float("inf")

    @property
    def definition(self) -> Definition:
        return DEFINITIONS[self.key]

    @property
    def words(self) -> str:
        return self.label or self.definition.words


_ECD = "equivalent circular diameter 2·√(A/π)"
DEFINITIONS: Mapping[str, Definition] = {
    "mean": Definition("mean diameter (average crystal size)", 1, f"{_ECD}; EN 623-3, ISO 9276-2 D[1,0]"),
    "d10": Definition("D10 by number", 1, "ISO 9276-1, smallest size with Q0 ≥ 0.1"),
    "d50": Definition("D50 by number", 1, "ISO 9276-1, smallest size with Q0 ≥ 0.5"),
    "d90": Definition("D90 by number", 1, "ISO 9276-1, smallest size with Q0 ≥ 0.9"),
    "d10_area": Definition("D10 by area", 1, "ISO 9276-1, smallest size with Q2 ≥ 0.1"),
    "d50_area": Definition("D50 by area", 1, "ISO 9276-1, smallest size with Q2 ≥ 0.5"),
    "d90_area": Definition("D90 by area", 1, "ISO 9276-1, smallest size with Q2 ≥ 0.9"),
    "span": Definition("span by number, (D90 − D10)/D50", 0, "ISO 9276-1 percentiles"),
    "d32": Definition("D[3,2]", 1, "ISO 9276-2, M3,0 / M2,0 of the sections' diameters"),
    "d43": Definition("D[4,3]", 1, "ISO 9276-2, M4,0 / M3,0 of the sections' diameters"),
    "largest": Definition("largest diameter", 1, _ECD),
    "area_above": Definition("area share of crystals above x", 0, "share of the counted crystals' area", is_share=True),
    "aspect": Definition("median aspect ratio, min/max Feret", 0, "ISO 9276-6"),
    "intercept_lines": Definition("mean linear intercept, lines", 1, "ISO 13383-1, EN 623-3, ASTM E112-13 cl. 13"),
    "intercept_circles": Definition("mean linear intercept, circles", 1, "ASTM E112-13 cl. 14"),
    "per_mm2": Definition("crystals per mm², N_A", -2, "ASTM E112-13 cl. 11: (inside + cut/2 + corner/4) / area"),
    "g_planimetric": Definition("G, planimetric", "G", "ASTM E112-13 cl. 11: 3.321928·log10(N_A) − 2.954"),
    "g_lines": Definition("G, intercept, lines", "G", "ASTM E112-13 cl. 13: −6.643856·log10(l) − 3.288"),
    "g_circles": Definition("G, intercept, circles", "G", "ASTM E112-13 cl. 14: −6.643856·log10(l) − 3.288"),
    "g_area": Definition("G, mean area", "G", "ASTM E1382-97: −3.3223·log10(A) − 2.955; border as ISO 13322-1"),
}


def unit_of(key: str, unit: str) -> str:
    """The unit of a figure where lengths are in `unit`."""
    power = DEFINITIONS[key].power
    return unit if power == 1 else "1/mm²" if power == -2 else ""


def needed_crystals(sizes: np.ndarray, weights: np.ndarray, wanted: float = 5.0) -> int:
    """Crystals needed for a mean diameter within `wanted` % (95 %), from the spread of those counted: (1.96·s / (p·x̄))²
    (the normal approximation behind ISO 13322-1's number of particles)."""
    mean = float(np.average(sizes, weights=weights))
    variance = float(np.average((sizes - mean) ** 2, weights=weights))
    return int(np.ceil(1.96**2 * variance / (wanted / 100 * mean) ** 2))


def figures(
    fields: Sequence[Field], rule: str, above: float | None = None, resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """All figures of a sample by key, in the order of DEFINITIONS; empty if no crystal counts.

    `rule`: the border rule of the diameters; `above`: x of `area_above`, in the sample's unit, or None. Lengths are in
    µm if every field has a pixel size, else in px; G needs one. Sampling uncertainty: a bootstrap of so many
    `resamples` over the crystals (0: NaN, and much faster), for the largest the spread of the largest few, for
    intercepts a jackknife over the lines, for numbers per area Poisson's; or the spread between fields, s/√n, if that
    is larger. Of FEW_FIELDS or more it is always the spread. Two fields may agree by chance, far better than their
    crystals allow.
    """
    fields = in_one_unit(fields)
    calibrated = all(field.um_per_px for field in fields)
    unit = "µm" if calibrated else "px"
    parts, together = counted(fields, rule)
    if not len(together[0]):
        return {}
    by_key = _of_crystals(unit, lambda x, w, a: _by_size(x, w, a, above), parts, together, resamples)
    if above is not None:
        words = DEFINITIONS["area_above"].words.replace("above x", f"above {above:g} {unit}")
        by_key["area_above"] = replace(by_key["area_above"], label=words)
    by_key["largest"] = _largest(unit, [part[0] for part in parts])
    by_key |= _aspect(fields, rule, resamples)
    for pattern in ("lines", "circles"):
        by_key |= _of_intercepts(fields, pattern, unit, calibrated)
    if calibrated:
        by_key |= _planimetric(fields)
        by_key |= _mean_area(fields, resamples)
    return {key: by_key[key] for key in DEFINITIONS if key in by_key and np.isfinite(by_key[key].value)}


def counted(fields: Sequence[Field], rule: str) -> tuple[list[tuple[np.ndarray, ...]], list[np.ndarray]]:
    """Diameters, weights and areas of the counted crystals: of each field, and of all fields together. In µm if every
    field has a pixel size, else in px."""
    parts: list[tuple[np.ndarray, ...]] = [
        sizes_and_weights(field.crystals, field.shape, rule)[:3] for field in in_one_unit(fields)
    ]
    return parts, [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _sampled(figure: Figure) -> Figure:
    """The figure, its sampling uncertainty so far that of chance over crystals or lines, with the spread between its
    fields in place of that where it is larger or tells by itself (`figures`)."""
    each = [v for v in figure.fields if np.isfinite(v)]
    if len(each) < 2:
        return figure
    spread = float(np.std(each, ddof=1))
    if figure.key != "largest":  # the largest of several samples varies as that of one does (Gumbel's distribution)
        spread /= float(np.sqrt(len(each)))
    if len(each) < FEW_FIELDS and spread <= figure.sampling:
        return figure
    return replace(figure, sampling=spread, how=f"spread between {len(each)} fields", freedom=len(each) - 1)


def _by_size(x: np.ndarray, w: np.ndarray, a: np.ndarray, above: float | None) -> dict[str, float]:
    """The figures that are averages over crystals by size, of sizes, weights and areas."""
    d10, d50, d90 = percentiles(x, w)
    area10, area50, area90 = percentiles(x, w * a)
    second = w * x * x
    third = second * x
    found = {
        "mean": float(np.average(x, weights=w)),
        **{"d10": d10, "d50": d50, "d90": d90, "d10_area": area10, "d50_area": area50, "d90_area": area90},
        "span": (d90 - d10) / d50,
        "d32": float(third.sum() / second.sum()),
        "d43": float((third * x).sum() / third.sum()),
    }
    return found if above is None else found | {"area_above": float((w * a)[x > above].sum() / (w * a).sum())}


def _of_crystals(
    unit: str,
    function: Callable[..., dict[str, float]],
    parts: Sequence[tuple[np.ndarray, ...]],
    together: Sequence[np.ndarray],
    resamples: int,
) -> dict[str, Figure]:
    """The figures that `function` gives of crystals' arrays, sizes first: of all crystals, and of each field's; none
    without crystals."""
    if not len(together[0]):
        return {}
    each = [function(*part) if len(part[0]) else {} for part in parts]
    crystals = len(together[0])
    chance: dict[str, float] = {}
    if len(parts) < FEW_FIELDS and crystals > 1 and resamples:
        chance = _bootstrap(function, together, resamples)
    how = f"bootstrap over {crystals} crystals"
    return {
        key: _sampled(
            Figure(
                key,
                value,
                unit_of(key, unit),
                chance.get(key, np.nan),
                how,
                tuple(of.get(key, np.nan) for of in each),
                freedom=crystals - 1,
            )
        )
        for key, value in function(*together).items()
    }


def _bootstrap(
    function: Callable[..., dict[str, float]], arrays: Sequence[np.ndarray], resamples: int
) -> dict[str, float]:
    rng = np.random.default_rng(0)
    n = len(arrays[0])
    order = np.argsort(arrays[0])
    rank = np.argsort(order)
    # each resample by size: percentiles of sorted sizes are found sooner
    picks = (order[np.sort(rank[rng.integers(n, size=n)])] for _ in range(resamples))
    values = [function(*(a[pick] for a in arrays)) for pick in picks]
    return {key: float(np.std([of[key] for of in values], ddof=1)) for key in values[0]}


def _largest(unit: str, parts: Sequence[np.ndarray]) -> Figure:
    """The largest diameter, and how much that of another such sample would differ. A bootstrap cannot tell: no resample
    has a larger one. The few largest of n crystals exceed the next by δ in the mean, and the largest varies by π/√6·δ
    (Gumbel's distribution, to which log-normal and Weibull tails lead; Weissman 1978, JASA 73:812)."""
    sizes = np.sort(np.concatenate(parts))[::-1]
    each = tuple(float(part.max()) if len(part) else np.nan for part in parts)
    few = int(np.sqrt(len(sizes)))
    chance = float(np.pi / np.sqrt(6) * (sizes[:few].mean() - sizes[few])) if few > 1 else np.nan
    how = f"how far the {few} largest of {len(sizes)} crystals lie apart"
    # δ is known to 1/√few of itself, as a standard deviation is with so many degrees of freedom
    return _sampled(Figure("largest", float(sizes[0]), unit, chance, how, each, freedom=few / 2))


def _aspect(fields: Sequence[Field], rule: str, resamples: int) -> dict[str, Figure]:
    parts = []
    for field in fields:
        table = field.crystals[field.crystals["kind"] == "crystal"]
        inside = table if rule == "include" else table[~table["touches_border"]]
        parts.append((inside["aspect_ratio"].to_numpy(float),))
    together = (np.concatenate([p[0] for p in parts]),)
    return _of_crystals("", lambda x: {"aspect": float(np.median(x))}, parts, together, resamples)


def _of_intercepts(fields: Sequence[Field], pattern: Pattern, unit: str, calibrated: bool) -> dict[str, Figure]:
    counts = [field.intercepts(pattern) for field in fields]
    scales = [field.um_per_px or 1.0 if calibrated else 1.0 for field in fields]
    count = sum(f.count for f in counts)
    if not count:
        return {}
    mean = sum(f.length * s for f, s in zip(counts, scales, strict=True)) / count
    each = tuple(f.mean * s for f, s in zip(counts, scales, strict=True))
    lines = np.array([(c, length * s) for f, s in zip(counts, scales, strict=True) for c, length in f.by_line])
    key, how = f"intercept_{pattern}", f"jackknife over {len(lines)} {pattern}"
    own = _sampled(Figure(key, mean, unit_of(key, unit), _jackknife(lines), how, each, freedom=len(lines) - 1))
    if not calibrated:
        return {key: own}
    of_g = tuple(g_of_intercept(v / 1000) if np.isfinite(v) else np.nan for v in each)
    return {key: own, f"g_{pattern}": _as_g(own, f"g_{pattern}", g_of_intercept(mean / 1000), of_g)}


def _as_g(own: Figure, key: str, value: float, each: tuple[float, ...]) -> Figure:
    """A grain-size number with the sampling uncertainty of the figure that it comes from."""
    per_length = G_PER_LENGTH / abs(float(own.definition.power))
    return replace(own, key=key, value=value, unit="", sampling=per_length * own.sampling / own.value, fields=each)


def _jackknife(lines: np.ndarray) -> float:
    """Standard uncertainty of Σlength / Σcount, (n, 2) of count and length, leaving out one line after another."""
    n = len(lines)
    left = lines.sum(axis=0) - lines
    if n < 2 or (left[:, 0] <= 0).any():
        return np.nan
    values = left[:, 1] / left[:, 0]
    return float(np.sqrt((n - 1) / n * np.square(values - values.mean()).sum()))


def _planimetric(fields: Sequence[Field]) -> dict[str, Figure]:
    counts = [field.planimetric.count for field in fields]
    areas = [field.area for field in fields]
    if not sum(counts):
        return {}
    density = sum(counts) / sum(areas)
    each = tuple(c / a if c else np.nan for c, a in zip(counts, areas, strict=True))
    # A count of independent crystals varies by its root (Poisson), which for grains that fill space is an upper bound.
    how = f"Poisson, {sum(counts):g} crystals"
    own = _sampled(Figure("per_mm2", density, unit_of("per_mm2", "µm"), density / np.sqrt(sum(counts)), how, each))
    of_g = tuple(g_of_count(v) if np.isfinite(v) else np.nan for v in each)
    return {"per_mm2": own, "g_planimetric": _as_g(own, "g_planimetric", g_of_count(density), of_g)}


def _mean_area(fields: Sequence[Field], resamples: int) -> dict[str, Figure]:
    parts, together = counted(fields, "exclude")

    def of_mean(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> dict[str, float]:
        return {"g_area": g_of_area(float(np.average(a, weights=w)) / 1e6)}

    return _of_crystals("", of_mean, parts, together, resamples)
