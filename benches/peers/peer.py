"""Runs umap-learn, pacmap or scikit-learn's PCA on one job; the Python side of job.rs.

The only argument is a job in JSON, the last line printed is a report in JSON. Compilation by numba is kept
out of the measured fit by a warm-up on some of the same rows; what a user waits for in a fresh process is
measured by jobs that stop after the first result. Peak memory is the kernel's VmHWM.
"""

import json
import os
import pathlib
import resource
import statistics
import sys
import time
import warnings

# umap-learn is exact below 4,096 rows and approximate above: the warm-up must take the same way.
WARM_UP_ROWS = 5000
ONE_ROW_REPETITIONS = 11


def main():
    job = json.loads(sys.argv[1])
    report = {}
    started = time.perf_counter()
    import numpy as np
    make, version = METHODS[job["method"]](job)
    report["import_secs"] = time.perf_counter() - started
    report["version"] = version

    started = time.perf_counter()
    train = np.ascontiguousarray(np.load(job["train"], mmap_mode="r")[: job.get("rows")])
    test = np.load(job["test"])
    report["load_secs"] = time.perf_counter() - started

    out = pathlib.Path(job["out"])
    out.mkdir(parents=True, exist_ok=True)
    if not job.get("first_result_only"):
        timed(report, "warm_up", lambda: warm_up(make, train, test))
    model = make()
    layout = timed(report, "fit", lambda: model.fit(train))
    if job.get("first_result_only") and "TLC_STARTED_AT" in os.environ:
        report["first_result_secs"] = time.time() - float(os.environ["TLC_STARTED_AT"])
    np.save(out / "layout.npy", np.ascontiguousarray(layout, np.float32))
    if not job.get("first_result_only"):
        transformed = timed(report, "transform", lambda: model.transform(test))
        np.save(out / "transformed.npy", np.ascontiguousarray(transformed, np.float32))
        rows = [test[row : row + 1] for row in range(ONE_ROW_REPETITIONS)]
        report["one_row_secs"] = statistics.median(wall(lambda: model.transform(row)) for row in rows)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    report["peak_mib"] = int(peak.split()[1]) / 1024
    print(json.dumps(report))


def warm_up(make, train, test):
    model = make()
    model.fit(train[:WARM_UP_ROWS].copy())
    model.transform(test[:100])
    model.transform(test[:1])


def wall(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def timed(report, stage, work):
    def cpu():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    started, cpu_started = time.perf_counter(), cpu()
    result = work()
    report[f"{stage}_secs"] = time.perf_counter() - started
    report[f"{stage}_cpu_secs"] = cpu() - cpu_started
    return result


class Umap:
    def __init__(self, **args):
        import umap

        self.model = umap.UMAP(**args)

    def fit(self, rows):
        return self.model.fit_transform(rows)

    def transform(self, rows):
        return self.model.transform(rows)


class Pacmap:
    def __init__(self, kind, **args):
        import pacmap

        # With its index kept, as who wants to transform would have it; else each call builds it again.
        self.model = getattr(pacmap, kind)(save_tree=True, **args)

    def fit(self, rows):
        return self.model.fit_transform(rows)

    def transform(self, rows):
        return self.model.transform(rows)


class Pca:
    def __init__(self, **args):
        from sklearn.decomposition import PCA

        self.model = PCA(**args)

    def fit(self, rows):
        return self.model.fit_transform(rows)

    def transform(self, rows):
        return self.model.transform(rows)


def umap_learn(job):
    import umap

    # Unseeded it uses all threads; a seed makes it use one.
    return lambda: Umap(**job["args"]), f"umap-learn {umap.__version__}"


def umap_learn_seeded(job):
    import umap

    return lambda: Umap(random_state=job["seed"], **job["args"]), f"umap-learn {umap.__version__}"


def pacmap_of(kind):
    def method(job):
        import importlib.metadata

        import pacmap  # noqa: F401

        version = importlib.metadata.version("pacmap")
        return lambda: Pacmap(kind, random_state=job["seed"], **job["args"]), f"pacmap {version}"

    return method


def pca(job):
    import sklearn

    return lambda: Pca(random_state=job["seed"], **job["args"]), f"scikit-learn {sklearn.__version__}"


METHODS = {
    "umap": umap_learn,
    "umap-seeded": umap_learn_seeded,
    "pacmap": pacmap_of("PaCMAP"),
    "localmap": pacmap_of("LocalMAP"),
    "pca": pca,
}

if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
