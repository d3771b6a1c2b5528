"""How good a layout is, the same for ours and for theirs: one program, one definition per measure.

The only argument is {"train", "rows", "labels", "test", "test_labels", "layout", "transformed", "seed"}, all but
the last paths or null; printed is one JSON object. Neighbours are exact. Accuracy is over all rows; above SAMPLE
rows the other measures are means over a seeded sample of SAMPLE query rows (SAMPLE_OF_LARGE above LARGE rows), each
against all rows.

    trust, trust_test     trustworthiness at 15 (Venna and Kaski 2001), of fitted and of transformed rows
    preserve, …_test      share of the 15 nearest rows in the data that are among the 15 nearest in the layout
    accuracy, …_test      share of rows whose label is the most frequent among the 10 nearest fitted rows
    triplets, …_test      share of 5 random triplets per query whose order of distances the layout keeps; a transformed
                          row with two fitted ones
    spearman, …_test      rank correlation of the distances of those pairs
"""

import json
import sys

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

SAMPLE = 2000
# Where each query is compared with very many rows.
LARGE, SAMPLE_OF_LARGE = 200_000, 500
K = 15
K_LABELS = 10


def main():
    job = json.loads(sys.argv[1])
    rng = np.random.default_rng(job["seed"])
    rows = np.load(job["train"], mmap_mode="r")[: job.get("rows")]
    labels = np.load(job["labels"])[: len(rows)]
    layout = np.load(job["layout"])
    report = {"finite": bool(np.isfinite(layout).all()), "shape": list(layout.shape), "expected_rows": len(rows)}
    if report["finite"] and layout.shape[0] == len(rows):
        sample = SAMPLE if len(rows) <= LARGE else SAMPLE_OF_LARGE
        chosen = np.sort(rng.permutation(len(rows))[:sample])
        rows = np.ascontiguousarray(rows)
        report |= neighbours(rows[chosen], layout[chosen], rows, layout, chosen)
        tree = cKDTree(layout.astype(np.float64))
        report["accuracy"] = accuracy(tree, layout, labels, labels, own=True)
        report |= distances(rows, layout, rows, layout, rng, own=True)
        if job.get("transformed"):
            test, transformed = np.load(job["test"]), np.load(job["transformed"])
            report["finite"] = report["finite"] and bool(np.isfinite(transformed).all())
            if report["finite"]:
                queries = np.sort(rng.permutation(len(test))[:sample])
                found = neighbours(test[queries], transformed[queries], rows, layout, None)
                found["accuracy"] = accuracy(tree, transformed, np.load(job["test_labels"]), labels, own=False)
                found |= distances(test, transformed, rows, layout, rng, own=False)
                report |= {f"{name}_test": value for name, value in found.items()}
    print(json.dumps(report))


def accuracy(tree, places, place_labels, labels, own):
    """Share of places whose label is the most frequent among the nearest in the tree; `own`: they are its points."""
    k = min(K_LABELS, tree.n - own)
    found = tree.query(places.astype(np.float64), k + own, workers=-1)[1]
    if own:
        # Itself, which is not the first where points coincide; the last where it is not among them.
        itself = found == np.arange(len(found))[:, None]
        itself[~itself.any(axis=1), -1] = True
        found = found[~itself].reshape(len(found), k)
    votes = labels[found]
    values = np.unique(labels)
    counts = np.stack([(votes == value).sum(axis=1) for value in values], axis=1)
    return float((values[counts.argmax(axis=1)] == place_labels).mean())


def neighbours(queries, places, rows, layout, own):
    """Measures on the neighbours of `queries` among `rows`; `own` are their own numbers there, if any."""
    n = len(rows) - (own is not None)
    k = min(K, n // 2 - 1)
    # Neighbours in a layout are so close that 32 bits would cancel in the squares.
    layout = layout.astype(np.float64)
    row_squares, layout_squares = squares(rows), squares(layout)
    penalty = kept = 0
    block = max(1, 50_000_000 // len(rows))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        far = squared(queries[part], rows, row_squares)
        near = squared(places[part].astype(np.float64), layout, layout_squares)
        if own is not None:
            at = (np.arange(len(far)), own[part])
            far[at] = near[at] = np.inf
        close = nearest(near, k)
        limit = np.partition(far, k - 1, axis=1)[:, k - 1 : k]
        distance = np.take_along_axis(far, close, axis=1)
        kept += (distance <= limit).sum()
        # Ranks count the rows that are nearer; only those beyond the k nearest are punished.
        for query, column in zip(*np.nonzero(distance > limit)):
            penalty += int((far[query] < distance[query, column]).sum()) + 1 - k
    m = len(queries)
    total = n if own is None else n + 1
    return {
        "trust": 1 - penalty * 2 / (m * k * (2 * total - 3 * k - 1)),
        "preserve": kept / (m * k),
    }


def distances(asked, places, rows, layout, rng, own):
    """Measures on the distances of rows `asked`, at `places`, to random `rows`; `own`: they are the same rows."""
    queries = rng.integers(len(asked), size=min(len(asked), SAMPLE) * 5)
    first, second = rng.integers(len(rows), size=(2, len(queries)))

    def both(from_points, points):
        if points.shape[1] <= 3:
            from_points, points = from_points.astype(np.float64), points.astype(np.float64)
        return [np.linalg.norm(from_points[queries] - points[others], axis=1) for others in (first, second)]

    (far_a, far_b), (near_a, near_b) = both(asked, rows), both(places, layout)
    valid = first != second
    if own:
        valid &= (first != queries) & (second != queries)
    same = ((far_a < far_b) == (near_a < near_b))[valid]
    rank = spearmanr(np.concatenate([far_a, far_b]), np.concatenate([near_a, near_b])).statistic
    return {"triplets": float(same.mean()), "spearman": float(rank)}


def squares(rows):
    return np.einsum("ij,ij->i", rows, rows)


def squared(queries, rows, row_squares):
    return squares(queries)[:, None] + row_squares - 2 * queries @ rows.T


def nearest(distance, k):
    found = np.argpartition(distance, k - 1, axis=1)[:, :k]
    order = np.take_along_axis(distance, found, axis=1).argsort(axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


if __name__ == "__main__":
    main()
