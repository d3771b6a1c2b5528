"""Draws the two plots of a page of results from its records: time against rows, and quality against time.

    plot.py RECORDS.jsonl

writes RECORDS-time.svg and RECORDS-quality.svg. Medians of the warm measurements; both axes of time are
logarithmic.
"""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
# The same records give the same file, and text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "tlc", "svg.fonttype": "none", "font.size": 9})
import matplotlib.pyplot as plt

MARKERS = "os^Dvp*XPh<>"


def main():
    path = pathlib.Path(sys.argv[1])
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records = [record for record in records if record["kind"] == "warm" and "report" in record]
    names = sorted({record["contender"] for record in records}, key=lambda name: (not name.startswith("tlc"), name))
    styles = {
        name: {"marker": MARKERS[i % 12], "color": f"C{i % 10}", "linewidth": 2.0 if name.startswith("tlc") else 1.0}
        for i, name in enumerate(names)
    }
    time_against_rows(records, styles, path.with_name(f"{path.stem}-time.svg"))
    quality_against_time(records, styles, path.with_name(f"{path.stem}-quality.svg"))


def time_against_rows(records, styles, path):
    families = sorted({family(record) for record in records})
    draw(
        path,
        families,
        styles,
        lambda name, panel: sorted(
            (rows, median(of_size, "report", "fit_secs"))
            for rows in {record["rows"] for record in records}
            if (of_size := [r for r in records if r["rows"] == rows and r["contender"] == name and family(r) == panel])
        ),
        "rows fitted",
        "fit, s",
        ("log", "log"),
    )


def quality_against_time(records, styles, path):
    panels = list(dict.fromkeys(record["data"] for record in records))

    def points(name, panel):
        own = [record for record in records if record["contender"] == name and record["data"] == panel]
        return [(median(own, "report", "fit_secs"), median(own, "quality", "trust"))] if own else []

    draw(path, panels, styles, points, "fit, s", "trustworthiness at 15", ("log", "linear"))


def draw(path, panels, styles, points, x_label, y_label, scales):
    columns = min(3, len(panels)) or 1
    rows = -(-len(panels) // columns) or 1
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows + 0.8), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    lines = {}
    for axis, panel in zip(axes.flat, panels):
        for name, style in styles.items():
            if found := [point for point in points(name, panel) if None not in point]:
                lines[name] = axis.plot(*zip(*found), label=name, **style)[0]
        axis.set(title=panel, xlabel=x_label, ylabel=y_label, xscale=scales[0], yscale=scales[1])
        axis.grid(alpha=0.3)
    figure.legend(lines.values(), lines.keys(), loc="lower center", ncol=4, frameon=False)
    figure.tight_layout(rect=(0, 0.9 / (3.2 * rows + 0.8), 1, 1))
    figure.savefig(path, metadata={"Date": None})


def family(record):
    return record["data"].rsplit("-", 1)[0]


def median(records, section, name):
    values = [record[section][name] for record in records if record.get(section, {}).get(name) is not None]
    return statistics.median(values) if values else None


if __name__ == "__main__":
    main()
