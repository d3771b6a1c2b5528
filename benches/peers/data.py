"""Writes the data of the comparison into a folder, as .npy: 32-bit rows in C order, 64-bit labels.

    data.py FOLDER NAME…        with NAME one of fashion, digits, spheres, mammoth, mixture

Everything random is seeded, and what exists is left alone. `embeddings` come from the program
`demo_embeddings` of tlc-benches; `mixture` is made from them.
"""

import gzip
import pathlib
import sys

import numpy as np

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def fashion():
    """Fashion-MNIST's pixels, 0 to 255: 60,000 to fit in their order, which is random, and 10,000 others."""

    def read(name, skip):
        return np.frombuffer(gzip.decompress((FASHION / name).read_bytes()), np.uint8, offset=skip)

    for split, name in (("train", "train"), ("test", "t10k")):
        rows = read(f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32)
        yield split, rows, read(f"{name}-labels-idx1-ubyte.gz", 8)


def digits():
    """scikit-learn's 1,797 handwritten digits of 64 values, 1,500 to fit."""
    from sklearn.datasets import load_digits

    data = load_digits()
    yield from split(data.data, data.target, 1500, np.random.default_rng(0))


def spheres(n_inner=900, n_outer=3000, d=100):
    """Nested spheres: ten of radius 5 in 101 dimensions, centres normal with deviation 10 / sqrt(101), all
    within one of radius 25 (after Moor et al. 2020, Topological Autoencoders); 12,000 points, 10,000 to fit."""
    rng = np.random.default_rng(1)

    def sphere(n, radius):
        points = rng.normal(size=(n, d + 1))
        return radius * points / np.linalg.norm(points, axis=1, keepdims=True)

    centres = rng.normal(size=(10, d + 1)) * 10 / np.sqrt(d + 1)
    parts = [sphere(n_inner, 5) + centre for centre in centres] + [sphere(n_outer, 25)]
    labels = np.repeat(np.arange(11), [len(part) for part in parts])
    yield from split(np.concatenate(parts), labels, 10_000, rng)


def mammoth(n=12_000):
    """The surface of an animal in 3-D: thick tubes along curves for body, neck, head, legs, trunk, tusks
    and tail, with known lengths and places; labels are the parts; 12,000 points, 10,000 to fit."""
    rng = np.random.default_rng(2)
    curves = [
        ([(-3, 0, 4), (0, 0, 4.6), (3, 0, 4.2)], (1.6, 1.3)),  # body
        ([(3, 0, 4.4), (4, 0, 5.2), (4.6, 0, 5.6)], (1.0, 0.7)),  # neck
        ([(4.4, 0, 5.6), (5, 0, 5.6), (5.5, 0, 5.2)], (0.9, 0.5)),  # head
        ([(5.5, 0, 5.2), (6.8, 0, 2.5), (6.0, 0, 0.6)], (0.4, 0.15)),  # trunk
        ([(5.2, 0.5, 4.8), (7.6, 1.2, 2.4), (8.0, 0.4, 4.6)], (0.2, 0.05)),  # tusks
        ([(5.2, -0.5, 4.8), (7.6, -1.2, 2.4), (8.0, -0.4, 4.6)], (0.2, 0.05)),
        ([(2.4, 0.9, 3.4), (2.6, 1.0, 1.6), (2.4, 1.0, 0)], (0.6, 0.4)),  # legs
        ([(2.4, -0.9, 3.4), (2.2, -1.0, 1.6), (2.4, -1.0, 0)], (0.6, 0.4)),
        ([(-2.4, 0.9, 3.4), (-2.8, 1.0, 1.6), (-2.4, 1.0, 0)], (0.7, 0.4)),
        ([(-2.4, -0.9, 3.4), (-2.0, -1.0, 1.6), (-2.4, -1.0, 0)], (0.7, 0.4)),
        ([(-4.4, 0, 4.2), (-5.2, 0, 3.6), (-5.0, 0, 2.2)], (0.15, 0.05)),  # tail
    ]
    # Points by area, near enough: length times mean radius.
    area = [np.linalg.norm(np.subtract(c[2], c[0])) * sum(radii) for c, radii in curves]
    counts = rng.multinomial(n, np.array(area) / sum(area))
    parts = []
    for (control, (r0, r1)), count in zip(curves, counts):
        a, b, c = np.array(control, float)
        t = rng.uniform(size=(count, 1))
        centre = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        tangent = 2 * (1 - t) * (b - a) + 2 * t * (c - b)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        around = rng.normal(size=(count, 3))
        around -= (around * tangent).sum(axis=1, keepdims=True) * tangent
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        parts.append(centre + around * (r0 + t * (r1 - r0)))
    yield from split(np.concatenate(parts), np.repeat(np.arange(len(curves)), counts), 10_000, rng)


def mixture(n_train=1_000_000, n_test=10_000, d=128, k=15):
    """1,010,000 rows of 128 values between the demo's 20,000 embeddings of 512: each row is a mixture, with
    weights uniform on the simplex, of a random embedding and two of its 15 nearest others, plus normal noise
    of a twentieth of its distance to the first of them in all, then multiplied by one normal matrix
    (512, 128) / sqrt(128). Labels are those of the largest weight. The order is random, so that the first n
    rows are a sample: growth with n is measured on them."""
    rows, labels = np.load(FOLDER / "embeddings_train.npy"), np.load(FOLDER / "embeddings_train_labels.npy")
    rng = np.random.default_rng(3)
    projection = rng.normal(size=(rows.shape[1], d)).astype(np.float32) / np.float32(np.sqrt(d))
    neighbours = nearest_others(rows, k)
    for split, n in (("train", n_train), ("test", n_test)):
        made, made_labels = np.empty((n, d), np.float32), np.empty(n, np.int64)
        for start in range(0, n, 10_000):
            m = min(10_000, n - start)
            first = rng.integers(len(rows), size=m)
            ranks = rng.permuted(np.tile(np.arange(k), (m, 1)), axis=1)[:, :2]
            of = np.concatenate([first[:, None], neighbours[first[:, None], ranks]], axis=1)
            weights = rng.dirichlet((1, 1, 1), size=m).astype(np.float32)
            mixed = np.einsum("ij,ijk->ik", weights, rows[of])
            distance = np.linalg.norm(rows[of[:, 0]] - rows[of[:, 1]], axis=1, keepdims=True)
            noise = rng.normal(size=mixed.shape).astype(np.float32)
            mixed += noise * (distance / np.float32(20 * np.sqrt(rows.shape[1])))
            made[start : start + m] = mixed @ projection
            made_labels[start : start + m] = labels[of[np.arange(m), weights.argmax(axis=1)]]
        yield split, made, made_labels


def nearest_others(rows, k):
    squares = (rows * rows).sum(axis=1)
    found = np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), 1000):
        block = slice(start, start + 1000)
        distance = squares[block, None] + squares - 2 * rows[block] @ rows.T
        distance[np.arange(len(distance)), np.arange(start, start + len(distance))] = np.inf
        nearest = np.argpartition(distance, k, axis=1)[:, :k]
        order = np.take_along_axis(distance, nearest, axis=1).argsort(axis=1)
        found[block] = np.take_along_axis(nearest, order, axis=1)
    return found


def split(rows, labels, n_train, rng):
    order = rng.permutation(len(rows))
    for name, chosen in (("train", order[:n_train]), ("test", order[n_train:])):
        yield name, rows[chosen], labels[chosen]


def main():
    for name in sys.argv[2:]:
        make = {"fashion": fashion, "digits": digits, "spheres": spheres, "mammoth": mammoth, "mixture": mixture}[name]
        if (FOLDER / f"{name}_test_labels.npy").exists():
            continue
        FOLDER.mkdir(parents=True, exist_ok=True)
        for part, rows, labels in make():
            save(f"{name}_{part}.npy", rows, np.float32)
            # Written last: what is complete is known by it.
            save(f"{name}_{part}_labels.npy", labels, np.int64)


def save(name, values, kind):
    partial = FOLDER / f"partial_{name}"
    np.save(partial, np.ascontiguousarray(values, kind))
    partial.rename(FOLDER / name)


if __name__ == "__main__":
    FOLDER = pathlib.Path(sys.argv[1])
    main()
