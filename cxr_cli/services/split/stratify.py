"""Dividing indivisible units (patients) among splits so that every pathology is shared out as planned.

Pure arrays in, arrays out: no files, no tables, no names. A *unit* is a patient with all their images; a
*measure* is something counted in images (positives of one pathology, the images themselves).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: How much more a positive missing from a promised minimum weighs than one missing from a target.
_PROMISE = 1000.0
#: A move must gain more than this: rounding errors would let two equal states take turns for ever.
_TINY = 1e-14


def count_per_unit(units: npt.NDArray[np.int64], labels: npt.NDArray[np.float32]) -> Counts:
    """Count each unit's images by what is to be balanced.

    Parameters
    ----------
    units
        Shape (n_images,): number of the unit an image belongs to, 0 to n_units - 1.
    labels
        Shape (n_images, n_pathologies): 1 present, 0 absent, NaN unknown.

    Returns
    -------
    Shape (n_units, n_measures), in images. Measures are the positives of each pathology in turn, then the images
    whose label is known, for each pathology that is unknown everywhere (prevalence has two parts to balance
    there), and last all images.
    """
    known = ~np.isnan(labels)
    incomplete = known[:, ~known.all(axis=0)]
    columns = np.column_stack([labels == 1, incomplete, np.ones(len(labels), dtype=bool)])
    counts = np.zeros((int(units.max(initial=-1)) + 1, columns.shape[1]), dtype=np.int64)
    for measure, column in enumerate(columns.T):
        counts[:, measure] = np.bincount(units[column], minlength=len(counts))
    return counts


def plan_targets(totals: Counts, fractions: Floats, minimum: Counts) -> Floats:
    """Return how many images of each measure each split should get; shape (n_splits, n_measures).

    Each split gets its fraction of every measure, but no less than `minimum`, shape (n_splits, n_measures); what
    a minimum adds comes out of the other splits' shares above their own minimum, in proportion.
    """
    targets = np.outer(fractions, totals).astype(np.float64)
    raised = np.maximum(targets, minimum)
    spare = raised - minimum
    excess = (raised - targets).sum(axis=0)
    # Each split's spare can pay for the excess as long as the minima fit into the total, which promises() sees to.
    share = np.divide(excess, spare.sum(axis=0), out=np.zeros(len(excess)), where=spare.sum(axis=0) > 0)
    paid: Floats = raised - spare * share
    return paid


def promises(counts: Counts, n_splits: int, min_positives: int) -> Counts:
    """Return the positives that every split can be promised, shape (n_measures,).

    `min_positives`, or an equal share where there are fewer than that for each of the `n_splits` splits: the
    training split is never left with less than a test split was given. Nothing, where fewer units than splits have
    the finding: what cannot be tested everywhere had better be learned.
    """
    possible: Counts = np.minimum(min_positives, counts.sum(axis=0) // n_splits)
    possible[(counts > 0).sum(axis=0) < n_splits] = 0
    return possible


def assign_units(counts: Counts, fractions: Floats, *, minimum: Counts | None = None, seed: int = 0) -> Counts:
    """Assign each unit to a split so that every split gets its share of every measure.

    Units are taken in order of the rarest measure they hold, those that hold much of it first, and each goes
    where the squared normalised shortfall, summed over measures and splits,
    ``((target - count) / total) ** 2 / fraction``, falls most. Then single units are moved as long as that lowers
    the same sum (and a thousandfold penalty for a missed minimum). Taking the rarest label first is the idea of
    Sechidis et al.; weighing all measures at once, and whole groups, is what keeps patients together.

    Parameters
    ----------
    counts
        Shape (n_units, n_measures), in images; the last measure counts all images of a unit. The order of units must
        not depend on the order of rows in a file, or neither will the result.
    fractions
        Shape (n_splits,), positive, sum 1.
    minimum
        Shape (n_splits, n_measures): what a split must get, if it can be had. Default: nothing.
    seed
        Decides between units and splits that are equally good.

    Returns
    -------
    Shape (n_units,): the number of each unit's split.

    References
    ----------
    K. Sechidis, G. Tsoumakas, I. Vlahavas: On the stratification of multi-label data. ECML PKDD 2011,
    doi:10.1007/978-3-642-23808-6_10.
    """
    rng = np.random.default_rng(seed)
    totals = counts.sum(axis=0)
    least = np.zeros((len(fractions), counts.shape[1]), dtype=np.int64) if minimum is None else minimum
    # Splits are numbered in a seeded order, for the first of equally good ones is taken.
    shuffled = rng.permutation(len(fractions))
    targets = plan_targets(totals, fractions[shuffled], least[shuffled])
    weights = 1.0 / (fractions[shuffled][:, None] * np.maximum(totals, 1.0) ** 2)
    order = _rarest_first(counts, totals, rng)
    assigned = _greedy(counts, order, targets, weights)
    _improve(counts, assigned, targets, weights, least[shuffled])
    result: Counts = shuffled[assigned]
    return result


def _rarest_first(counts: Counts, totals: Counts, rng: np.random.Generator) -> Counts:
    """Order units by the total of their rarest measure, then by how much of it they hold, then by size, then by lot.

    How much is taken to within a factor of two: sorted to the image, the few patients with most images would come
    first and fall to the same split whatever the seed, which resampling must not do.
    """
    lot = rng.permutation(len(counts))
    total = np.where(counts > 0, totals.astype(np.float64), np.inf)
    rarest = total.argmin(axis=1)
    rows = np.arange(len(counts))
    _, amount = np.frexp(counts[rows, rarest])
    _, size = np.frexp(counts[:, -1])
    order: Counts = np.lexsort((lot, -size, -amount, rarest, total[rows, rarest]))
    return order


def _greedy(counts: Counts, order: Counts, targets: Floats, weights: Floats) -> Counts:
    """Put each unit in turn where the weighted squared shortfall falls most."""
    # Plain Python: most units hold one to three measures, and array calls on three numbers cost more than the sum.
    held = [[(measure, number) for measure, number in enumerate(row) if number] for row in counts.tolist()]
    shortfall: list[list[float]] = targets.tolist()
    weight: list[list[float]] = weights.tolist()
    assigned = np.zeros(len(counts), dtype=np.int64)
    for unit in order.tolist():
        best, best_change = 0, float("inf")
        for split, (short, heavy) in enumerate(zip(shortfall, weight, strict=True)):
            change = 0.0
            for measure, number in held[unit]:
                change += heavy[measure] * number * (number - 2.0 * short[measure])
            if change < best_change:
                best, best_change = split, change
        for measure, number in held[unit]:
            shortfall[best][measure] -= number
        assigned[unit] = best
    return assigned


def _improve(counts: Counts, assigned: Counts, targets: Floats, weights: Floats, minimum: Counts) -> None:
    """Move single units, in place, the most useful first, until no move helps."""
    n_splits = len(targets)
    sums = np.stack([counts[assigned == split].sum(axis=0) for split in range(n_splits)])

    def cost(split: int, held: Counts) -> Floats:
        missing = np.maximum(minimum[split] - held, 0)
        squares = (targets[split] - held) ** 2 + _PROMISE * missing**2
        result: Floats = (weights[split] * squares).sum(axis=-1)
        return result

    rows = np.arange(len(counts))
    joining = np.empty((len(counts), n_splits))  # what the cost changes by if a unit joins a split
    leaving = np.empty(len(counts))  # and if it leaves its own
    changed: tuple[int, ...] = tuple(range(n_splits))
    # Every move lowers the same bounded sum, so this ends by itself; the limit is for tables nobody has seen yet.
    for _ in range(10 * counts.shape[1] * n_splits):
        for split in changed:
            now = cost(split, sums[split])
            joining[:, split] = cost(split, sums[split] + counts) - now
            inside = assigned == split
            leaving[inside] = cost(split, sums[split] - counts[inside]) - now
        changes = joining + leaving[:, None]
        changes[rows, assigned] = 0.0
        unit, split = divmod(int(changes.argmin()), n_splits)
        if changes[unit, split] >= -_TINY:
            return
        changed = (int(assigned[unit]), split)
        sums[changed[0]] -= counts[unit]
        sums[split] += counts[unit]
        assigned[unit] = split
