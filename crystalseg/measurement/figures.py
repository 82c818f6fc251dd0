"""Compute every size figure of a sample: its value, unit, the standard that defines its formula, and uncertainty.

The uncertainty here is that of sampling. A sample is one or more fields (images) of one material. Its figures describe
the crystals of all fields together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import special

from crystalseg.measurement.distribution import border_weights, counting, percentiles, sizes_and_weights
from crystalseg.measurement.field import Field, in_one_unit
from crystalseg.measurement.grain_size import g_of_area, g_of_count, g_of_intercept
from crystalseg.measurement.intercept import Pattern
from crystalseg.measurement.sampling import (
    FEW_CRYSTALS,
    FEW_FIELDS,
    LEVEL,
    SIDE,
    UNKNOWN,
    LogNormal,
    Places,
    Spread,
    coverage_factor,
    few_of,
    influence,
    mean_size,
    missed_share,
    poisson,
    share_limits,
    size_limits,
    spread,
    wider,
)

# Change of G when every length changes by the factor e: 2·log2(e) (E112-13 clause 15).
G_PER_LENGTH = 2 * float(np.log2(np.e))


@dataclass(frozen=True)
class Definition:
    """The definition of a figure.

    `words` is its name. `power` is the power of the pixel size that it scales with (1 for a length, 0 for a share, −2
    for a number per area), or "G" for a grain-size number. `standard` names the source of its formula. `is_share` says
    whether its errors are shares themselves.
    """

    words: str
    power: int | str
    standard: str
    is_share: bool = False

    @property
    def is_relative(self) -> bool:
        """Return whether the errors of the figure are relative to its value rather than differences."""
        return self.power != "G" and not self.is_share


@dataclass(frozen=True)
class Figure:
    """A figure of a sample.

    `sampling` is its standard uncertainty due to which crystals or fields were seen, NaN if unknown. `how` says where
    that uncertainty comes from, and `freedom` is its degrees of freedom. `fields` holds the figure of each field alone,
    NaN where a field has none. `label` is the figure's name if it differs from the one in its definition. `at_least` is
    a lower bound of the figure: its value if the crystals cut by the border count with their visible part, NaN where
    that gives no bound. `per_pixel` is the change of the figure when the pixel size changes by its standard
    uncertainty; it is set only for figures that do not scale with a power of the pixel size, else NaN.
    """

    key: str
    value: float
    unit: str
    sampling: float
    how: str
    fields: tuple[float, ...] = ()
    label: str = ""
    freedom: float = float("inf")
    at_least: float = float("nan")
    per_pixel: float = float("nan")

    @property
    def definition(self) -> Definition:
        return DEFINITIONS[self.key]

    @property
    def words(self) -> str:
        return self.label or self.definition.words


_ECD = "equivalent circular diameter 2·√(A/π)"
DEFINITIONS: Mapping[str, Definition] = {
    "mean": Definition(
        "mean diameter (average crystal size)", 1, f"{_ECD}; EN ISO 13383-1:2016 method B, ISO 9276-2 D[1,0]"
    ),
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
    "aspect": Definition("median aspect ratio, min/max Feret", 0, "ISO 9276-6; weighted like sizes"),
    "intercept_lines": Definition(
        "mean linear intercept, lines", 1, "EN ISO 13383-1:2016 method A, ASTM E112-13 cl. 13"
    ),
    "intercept_circles": Definition("mean linear intercept, circles", 1, "ASTM E112-13 cl. 14"),
    "per_mm2": Definition("crystals per mm², N_A", -2, "ASTM E112-13 cl. 11: (inside + cut/2 + corner/4) / area"),
    "g_planimetric": Definition("G, planimetric", "G", "ASTM E112-13 cl. 11: 3.321928·log10(N_A) − 2.954"),
    "g_lines": Definition("G, intercept, lines", "G", "ASTM E112-13 cl. 13: −6.643856·log10(l) − 3.288"),
    "g_circles": Definition("G, intercept, circles", "G", "ASTM E112-13 cl. 14: −6.643856·log10(l) − 3.288"),
    "g_area": Definition("G, mean area", "G", "ASTM E1382-97: −3.3223·log10(A) − 2.955; border rule of ISO 13322-1"),
}


def unit_of(key: str, unit: str) -> str:
    """Return the unit of a figure where lengths are in `unit`."""
    power = DEFINITIONS[key].power
    return unit if power == 1 else "1/mm²" if power == -2 else ""


def needed_crystals(sizes: np.ndarray, weights: np.ndarray, wanted: float = 5.0) -> int:
    """Return the number of crystals needed for a mean diameter within `wanted` % (95 %).

    It follows from the spread of the counted crystals: (1.96·s / (p·x̄))², the normal approximation behind the number
    of particles in ISO 13322-1.
    """
    mean = float(np.average(sizes, weights=weights))
    variance = float(np.average((sizes - mean) ** 2, weights=weights))
    return int(np.ceil(1.96**2 * variance / (wanted / 100 * mean) ** 2))


def figures(
    fields: Sequence[Field], rule: str, above: float | None = None, calibration: float | None = None
) -> dict[str, Figure]:
    """Return all figures of a sample by key, in the order of DEFINITIONS; empty if no crystal counts.

    `rule` is the border rule of the diameters. `above` is the x of `area_above` in the sample's unit, or None.
    `calibration` is the relative standard uncertainty of the pixel size, None if unknown. Lengths are in µm if every
    field has a pixel size, else in px; G needs a pixel size. For the sampling uncertainty see `sampling`; for that of
    the largest diameter it is the spread of the few largest crystals.
    """
    fields = in_one_unit(fields)
    calibrated = all(field.um_per_px for field in fields)
    unit = "µm" if calibrated else "px"
    sample = Sample.of(fields, rule)
    if not len(sample.sizes):
        return {}
    by_key = _averages(sample, unit) | _percentiles(sample, unit)
    if above is not None:
        by_key["area_above"] = _area_above(sample, above, unit, calibration)
    by_key["largest"] = _largest(unit, [part[0] for part in sample.parts])
    by_key |= _aspect(fields, rule)
    for pattern in ("lines", "circles"):
        by_key |= _of_intercepts(fields, pattern, unit, calibrated)
    if calibrated:
        by_key |= _planimetric(fields)
        by_key |= _mean_area(fields)
    if rule != "include":
        by_key = _at_least(by_key, Sample.of(fields, "include"), above)
    return {key: by_key[key] for key in DEFINITIONS if key in by_key and np.isfinite(by_key[key].value)}


@dataclass(frozen=True)
class Sample:
    """The counted crystals of all fields.

    `sizes`, `weights` and `areas` are float (n,), and `places` says where the crystals are. `parts` holds the sizes,
    weights and areas of each field.
    """

    sizes: np.ndarray
    weights: np.ndarray
    areas: np.ndarray
    places: Places
    parts: Sequence[tuple[np.ndarray, ...]]

    @staticmethod
    def of(fields: Sequence[Field], rule: str) -> "Sample":
        """Collect the counted crystals of fields in one unit."""
        parts, (sizes, weights, areas) = counted(fields, rule)
        places = []
        for field in fields:
            of = counting(field.crystals, rule)
            x, y = (field.crystals[f"centroid_{axis}_px"].to_numpy(float)[of] for axis in "xy")
            places.append((x, y, field.shape))
        return Sample(sizes, weights, areas, Places.of(places), parts)

    @cached_property
    def few(self) -> LogNormal | None:
        """Return what is known of the population if there are too few crystals for blocks, but more than one."""
        return few_of(self.sizes, self.weights, self.places)

    @cached_property
    def tail(self) -> LogNormal | None:
        """Return how the population continues towards large crystals, for figures that depend on rare ones.

        Return None where the fields themselves show it, or for a single crystal. The crystals of a sample cannot show
        how large those are that the sample happens to lack.
        """
        if self.few is not None or self.places.fields >= FEW_FIELDS or len(self.sizes) < 2:
            return self.few
        return LogNormal.of_upper_half(self.sizes, self.weights)

    def by_field(self, function: Callable[..., float]) -> tuple[float, ...]:
        """Apply a function to the sizes, weights and areas of each field; NaN where a field has no crystal."""
        return tuple(function(*part) if len(part[0]) else np.nan for part in self.parts)


def counted(fields: Sequence[Field], rule: str) -> tuple[list[tuple[np.ndarray, ...]], list[np.ndarray]]:
    """Return diameters, weights and areas of the counted crystals, for each field and for all fields together.

    They are in µm if every field has a pixel size, else in px.
    """
    parts: list[tuple[np.ndarray, ...]] = [
        sizes_and_weights(field.crystals, field.shape, rule)[:3] for field in in_one_unit(fields)
    ]
    return parts, [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _figure(key: str, value: float, unit: str, of: Spread, each: tuple[float, ...] = ()) -> Figure:
    return Figure(key, value, unit_of(key, unit), of.effective, of.how, each, freedom=of.freedom)


def _averages(sample: Sample, unit: str) -> dict[str, Figure]:
    """Return the mean, D[3,2] and D[4,3]."""
    x, w = sample.sizes, sample.weights
    each = sample.by_field(lambda x, w, a: float(np.average(x, weights=w)))
    found = {"mean": _figure("mean", *_with_unit(mean_size(x, w, sample.places), unit), each)}
    for key, power in (("d32", 3), ("d43", 4)):
        value, psi = influence(w * x**power, w * x ** (power - 1))
        of = spread(psi, sample.places)
        if (tail := sample.tail) is not None:  # log-normal: M(p) / M(p − 1) = exp(μ + (p − ½)·σ²)
            with np.errstate(over="ignore"):
                draws = np.exp(tail.middle + (power - 0.5) * tail.width**2)
            of = wider(tail.spread(value, draws), of)
        each = sample.by_field(lambda x, w, a, p=power: influence(w * x**p, w * x ** (p - 1))[0])
        found[key] = _figure(key, value, unit, of, each)
    return found


def _with_unit(of: tuple[float, Spread], unit: str) -> tuple[float, str, Spread]:
    return of[0], unit, of[1]


_SHARES = (0.1, 0.5, 0.9)


def _percentiles(sample: Sample, unit: str) -> dict[str, Figure]:
    """Return D10, D50 and D90 by number and by area, and the span by number."""
    found = {}
    for suffix in ("", "_area"):
        by = _by(suffix)
        values = percentiles(sample.sizes, by(sample.sizes, sample.weights, sample.areas))
        each = np.array([percentiles(x, by(x, w, a)) if len(x) else (np.nan,) * 3 for x, w, a in sample.parts], float)
        weights = by(sample.sizes, sample.weights, sample.areas)
        influences = []
        for k, (share, value) in enumerate(zip(_SHARES, values, strict=True)):
            of, psi = _percentile(sample.sizes, weights, sample.places, share, value)
            influences.append(psi)
            if (tail := sample.tail if share > 0.5 else sample.few) is not None:
                shift = 2 * tail.width**2 if suffix else 0.0
                with np.errstate(over="ignore"):
                    fitted = tail.spread(value, np.exp(tail.middle + shift + special.ndtri(share) * tail.width))
                of = wider(fitted, of) if sample.few is None else fitted
            key = f"d{100 * share:.0f}{suffix}"
            found[key] = _figure(key, value, unit, of, tuple(each[:, k]))
        if not suffix:
            found["span"] = _span(sample, values, influences, each)
    return found


def _by(suffix: str) -> Callable[..., np.ndarray]:
    return lambda x, w, a: w * a if suffix else w


def _percentile(
    sizes: np.ndarray, weights: np.ndarray, places: Places, share: float, value: float
) -> tuple[Spread, np.ndarray]:
    """Return the spread of the size that a share of the weight does not exceed, and each crystal's influence on it.

    The spread comes from the ends of the share's interval, expressed as sizes (Woodruff 1952, JASA 47:635).
    """
    _, psi = influence(weights * (sizes <= value), weights)
    of = spread(psi, places)
    if not np.isfinite(of.standard):
        return of, np.full(len(sizes), np.nan)
    low, high = share_limits(share, of, len(sizes))
    smallest, largest = size_limits(sizes, weights, low, high)
    reach = max(largest - value, value - smallest)
    slope = (largest - smallest) / (high - low)
    return replace(of, standard=reach / coverage_factor(of.freedom), skew=0.0), -psi * slope


def _span(sample: Sample, values: tuple[float, ...], influences: Sequence[np.ndarray], each: np.ndarray) -> Figure:
    d10, d50, d90 = values
    span = (d90 - d10) / d50
    of = spread((influences[2] - influences[0] - span * influences[1]) / d50, sample.places)
    if sample.few is not None:
        with np.errstate(over="ignore"):
            of = sample.few.spread(span, 2 * np.sinh(special.ndtri(0.9) * sample.few.width))
    return _figure("span", span, "", of, tuple((each[:, 2] - each[:, 0]) / each[:, 1]))


def _area_above(sample: Sample, above: float, unit: str, calibration: float | None) -> Figure:
    """Return the share of the total area that belongs to crystals larger than `above`.

    If the sample has no such crystal, U is the share that may have been missed.
    """

    def share(x: np.ndarray, w: np.ndarray, a: np.ndarray, limit: float = above) -> float:
        return float((w * a)[x > limit].sum() / (w * a).sum())

    sizes, weights, areas, n = sample.sizes, sample.weights, sample.areas, len(sample.sizes)
    value, psi = influence(weights * areas * (sizes > above), weights * areas)
    of = spread(psi, sample.places)
    if sample.few is not None:
        shift = sample.few.middle + 2 * sample.few.width**2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            draws = special.ndtr((shift - np.log(above)) / sample.few.width)
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(np.nan_to_num(draws, nan=value), [tail, 1 - tail])
        of = replace(of, how=f"{n} crystals, assumed log-normal")
    else:
        low, high = share_limits(value, of, n)
    if not (sizes > above).any():
        mean, influences = influence(weights * areas, weights)
        alone = max(float(np.square(influences).sum()), (1e-9 * mean) ** 2)
        alike = spread(influences, sample.places).standard ** 2 / alone  # factor by which neighbours raise the variance
        high = max(high, missed_share(n / max(1.0, alike), np.pi / 4 * above**2 / mean))
        of = replace(of, how=f"none of {n} crystals is larger; largest share that may have been missed")
    of = replace(of, standard=max(high - value, value - low) / coverage_factor(of.freedom), skew=0.0)
    found = _figure("area_above", value, "", of if n > 1 else UNKNOWN, sample.by_field(share))
    words = DEFINITIONS["area_above"].words.replace("above x", f"above {above:g} {unit}")
    shifted = [share(sizes, weights, areas, above / (1 + sign * (calibration or 0.0))) for sign in (1, -1)]
    of_pixel = abs(shifted[0] - shifted[1]) / 2 if calibration is not None else np.nan
    return replace(found, label=words, per_pixel=of_pixel)


def _at_least(by_key: dict[str, Figure], visible: Sample, above: float | None) -> dict[str, Figure]:
    """Add to the figures their lower bounds, in which cut crystals count with their visible part.

    Of the area that is seen, the share in crystals larger than x by their visible sizes is at most the share by their
    true sizes. The bound therefore holds for shares and means by area.
    """
    x, w, a = visible.sizes, visible.weights, visible.areas
    found = {"largest": float(x.max()), "d32": float((a * x).sum() / a.sum())}
    found |= dict(zip(("d10_area", "d50_area", "d90_area"), percentiles(x, w * a), strict=True))
    if above is not None:
        found["area_above"] = float(a[x > above].sum() / a.sum())
    return {key: replace(of, at_least=found.get(key, np.nan)) for key, of in by_key.items()}


def _largest(unit: str, parts: Sequence[np.ndarray]) -> Figure:
    """Return the largest diameter, and how much it would vary between samples like this one.

    A bootstrap cannot tell, because no resample has a larger crystal. The few largest of n crystals exceed the next one
    by δ on average, and the largest varies by π/√6·δ (Gumbel's distribution, to which log-normal and Weibull tails
    lead; Weissman 1978, JASA 73:812). Between fields, it varies as the largest diameter of one field does.
    """
    sizes = np.sort(np.concatenate(parts))[::-1]
    each = tuple(float(part.max()) if len(part) else np.nan for part in parts)
    few = int(np.sqrt(len(sizes)))
    chance = float(np.pi / np.sqrt(6) * (sizes[:few].mean() - sizes[few])) if few > 1 else np.nan
    how = f"spread of the {few} largest of {len(sizes)} crystals"
    # The relative uncertainty of δ is 1/√few, like that of a standard deviation with few/2 degrees of freedom.
    own = Figure("largest", float(sizes[0]), unit, chance, how, each, freedom=few / 2)
    known = [v for v in each if np.isfinite(v)]
    between = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    if (len(known) < FEW_FIELDS and between <= own.sampling) or len(known) < 2:
        return own
    return replace(own, sampling=between, how=f"spread between {len(known)} fields", freedom=len(known) - 1)


def _aspect(fields: Sequence[Field], rule: str) -> dict[str, Figure]:
    """Return the median aspect ratio, counted like sizes, with the weights of the border rule."""
    parts, places = [], []
    for field in fields:
        inside = counting(field.crystals, rule)
        ratio, x, y = (
            field.crystals[c].to_numpy(float)[inside] for c in ("aspect_ratio", "centroid_x_px", "centroid_y_px")
        )
        parts.append((ratio, border_weights(field.crystals, field.shape, rule)[inside]))
        places.append((x, y, field.shape))
    ratios, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not len(ratios):
        return {}
    value = percentiles(ratios, weights)[1]
    of, _ = _percentile(ratios, weights, Places.of(places), 0.5, value)
    each = tuple(percentiles(*part)[1] if len(part[0]) else np.nan for part in parts)
    return {"aspect": _figure("aspect", value, "", of, each)}


def _of_intercepts(fields: Sequence[Field], pattern: Pattern, unit: str, calibrated: bool) -> dict[str, Figure]:
    found = [field.intercepts(pattern) for field in fields]
    scales = [field.um_per_px or 1.0 if calibrated else 1.0 for field in fields]
    count = sum(f.count for f in found)
    if not count:
        return {}
    counts = np.concatenate([f.by_crystal[:, 0] for f in found])
    lengths = np.concatenate([f.by_crystal[:, 1] * scale for f, scale in zip(found, scales, strict=True)])
    mean, psi = influence(lengths, counts)
    places = Places.of([field.places_of(f.ids) for field, f in zip(fields, found, strict=True)])
    each = tuple(f.mean * s for f, s in zip(found, scales, strict=True))
    own = _figure(f"intercept_{pattern}", mean, unit, spread(psi, places), each)
    if not calibrated:
        return {own.key: own}
    of_g = tuple(g_of_intercept(v / 1000) if np.isfinite(v) else np.nan for v in each)
    return {own.key: own, f"g_{pattern}": _as_g(own, f"g_{pattern}", g_of_intercept(mean / 1000), of_g)}


def _as_g(own: Figure, key: str, value: float, each: tuple[float, ...]) -> Figure:
    """Return a grain-size number with the sampling uncertainty of the figure from which it is computed."""
    per_length = G_PER_LENGTH / abs(float(own.definition.power))
    return replace(own, key=key, value=value, unit="", sampling=per_length * own.sampling / own.value, fields=each)


def _planimetric(fields: Sequence[Field]) -> dict[str, Figure]:
    found = [field.planimetric for field in fields]
    areas = np.array([field.area for field in fields])
    parts = np.concatenate([f.parts for f in found])
    if not len(parts):
        return {}
    density = float(parts.sum() / areas.sum())
    places = Places.of([field.places_of(f.ids) for field, f in zip(fields, found, strict=True)])
    even = density * np.repeat(areas, SIDE**2) / SIDE**2 / areas.sum()
    of = spread(parts / areas.sum(), places, even)
    if len(parts) < FEW_CRYSTALS and len(fields) < FEW_FIELDS:
        chance = poisson(float(parts.sum()), float(areas.sum()))
        of = chance if not of.reach > chance.reach else of
    each = tuple((f.count / area) for f, area in zip(found, areas, strict=True))
    own = _figure("per_mm2", density, "µm", of, each)
    of_g = tuple(g_of_count(v) if v else np.nan for v in each)
    return {"per_mm2": own, "g_planimetric": _as_g(own, "g_planimetric", g_of_count(density), of_g)}


def _mean_area(fields: Sequence[Field]) -> dict[str, Figure]:
    """Return G of the mean area, leaving out border crystals.

    G changes by the log2 of the factor by which the mean area changes.
    """
    sample = Sample.of(fields, "exclude")
    if not len(sample.sizes):
        return {}
    mean, psi = influence(sample.weights * sample.areas, sample.weights)
    of = spread(psi, sample.places)
    if sample.few is not None:
        with np.errstate(over="ignore"):
            fitted = sample.few.spread(mean, np.pi / 4 * np.exp(2 * sample.few.middle + 2 * sample.few.width**2))
        of = wider(fitted, of)
    each = sample.by_field(lambda x, w, a: g_of_area(float(np.average(a, weights=w)) / 1e6))
    per_area = G_PER_LENGTH / 2 / mean
    value = g_of_area(mean / 1e6)
    return {"g_area": replace(_figure("g_area", value, "", of, each), sampling=per_area * of.effective)}
