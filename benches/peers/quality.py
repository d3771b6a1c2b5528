"""How good a layout is, the same for ours and for theirs: one program, one definition per measure.

The only argument is {"train", "rows", "labels", "test", "test_labels", "layout", "transformed", "seed"}, all but
the last paths or null; printed is one JSON object. Neighbours are exact. Above SAMPLE rows the measures
are means over a seeded sample of SAMPLE query rows, each against all rows.

    trust, trust_test     trustworthiness at 15 (Venna and Kaski 2001), of fitted and of transformed rows
    preserve, …_test      share of the 15 nearest rows in the data that are among the 15 nearest in the layout
    accuracy, …_test      share of rows whose label is the most frequent among the 10 nearest fitted rows
    triplets              share of 5 random triplets per query whose order of distances the layout keeps
    spearman              rank correlation of the distances of those pairs
"""

import json
import sys

import numpy as np
from scipy.stats import spearmanr

SAMPLE = 2000
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
        chosen = np.sort(rng.permutation(len(rows))[:SAMPLE])
        rows = np.ascontiguousarray(rows)
        report |= neighbours(rows[chosen], layout[chosen], labels[chosen], rows, layout, labels, chosen)
        report |= distances(rows, layout, rng)
        if job.get("transformed"):
            test, transformed = np.load(job["test"]), np.load(job["transformed"])
            report["finite"] = report["finite"] and bool(np.isfinite(transformed).all())
            if report["finite"]:
                queries = np.sort(rng.permutation(len(test))[:SAMPLE])
                found = neighbours(
                    test[queries], transformed[queries], np.load(job["test_labels"])[queries], rows, layout, labels, None
                )
                report |= {f"{name}_test": value for name, value in found.items()}
    print(json.dumps(report))


def neighbours(queries, places, query_labels, rows, layout, labels, own):
    """Measures on the neighbours of `queries` among `rows`; `own` are their own numbers there, if any."""
    n = len(rows) - (own is not None)
    k, k_labels = min(K, n // 2 - 1), min(K_LABELS, n - 1)
    # Neighbours in a layout are so close that 32 bits would cancel in the squares.
    layout = layout.astype(np.float64)
    row_squares, layout_squares = squares(rows), squares(layout)
    penalty = kept = agreeing = 0
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
        for votes, label in zip(labels[nearest(near, k_labels)], query_labels[part]):
            values, first, counts = np.unique(votes, return_index=True, return_counts=True)
            agreeing += values[np.lexsort((first, -counts))[0]] == label
    m = len(queries)
    total = n if own is None else n + 1
    return {
        "trust": 1 - penalty * 2 / (m * k * (2 * total - 3 * k - 1)),
        "preserve": kept / (m * k),
        "accuracy": agreeing / m,
    }


def distances(rows, layout, rng):
    queries = rng.integers(len(rows), size=min(len(rows), SAMPLE) * 5)
    first, second = rng.integers(len(rows), size=(2, len(queries)))

    def both(points):
        points = points.astype(np.float64) if points.shape[1] <= 3 else points
        return [np.linalg.norm(points[queries] - points[others], axis=1) for others in (first, second)]

    (far_a, far_b), (near_a, near_b) = both(rows), both(layout)
    valid = (first != second) & (first != queries) & (second != queries)
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
