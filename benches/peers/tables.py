"""Python's side of the comparison of tables, and other programs that open the tables of tlc.

argv: `write-scan FOLDER ROWS WIDTH ROUNDS`, `take TABLE ROUNDS` or `open`, which reads the descriptions of tables from
standard input as `table-peer samples` prints them. Each prints one JSON object. `write-scan` measures what pylance does
by itself, and what it does together with a flush of the files, which tlc always does.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import duckdb
import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BATCH_ROWS = 8192
N_TAKEN = 100


def seconds(work):
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def flush(folder):
    """As tlc does: each file, and the folders that hold their names."""
    for path in [folder.parent, folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def write_scan(folder, rows, width, rounds):
    values = np.random.default_rng(0).random(rows * width, dtype=np.float32)
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("e", pa.list_(pa.float32(), width))])
    columns = [pa.array(np.arange(rows)), pa.FixedSizeListArray.from_arrays(pa.array(values), width)]
    batches = pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=BATCH_ROWS)
    report = {"write": [], "write_and_flush": [], "scan": []}
    for round in range(rounds):
        path = Path(folder) / f"peer-{round}.lance"

        def write():
            reader = pa.RecordBatchReader.from_batches(schema, iter(batches))
            lance.write_dataset(reader, str(path), mode="create", data_storage_version="2.2")

        def scan():
            dataset = lance.dataset(str(path))
            return sum(batch.num_rows for batch in dataset.to_batches(batch_size=BATCH_ROWS))

        taken, _ = seconds(write)
        flushed, _ = seconds(lambda: flush(path))
        report["write"].append(taken)
        report["write_and_flush"].append(taken + flushed)
        taken, found = seconds(scan)
        assert found == rows, found
        report["scan"].append(taken)
        shutil.rmtree(path)
    return report


def take(table, rounds):
    rows = lance.dataset(table).count_rows()
    random = np.random.default_rng(0)
    report = {"open_and_take": []}
    for _ in range(rounds):
        chosen = random.integers(0, rows, N_TAKEN).tolist()
        taken, found = seconds(lambda: lance.dataset(table).take(chosen))
        assert found.num_rows == N_TAKEN
        report["open_and_take"].append(taken)
    return report


def by_pylance(path):
    dataset = lance.dataset(str(path))
    dataset.validate()
    return dataset.to_table()


def by_lancedb(path):
    return lancedb.connect(str(path.parent)).open_table(path.stem).to_arrow()


def by_duckdb(path):
    # DuckDB reads Arrow's datasets, of which pylance's are a kind.
    rows = lance.dataset(str(path))  # noqa: F841, which the query names
    return duckdb.sql("select * from rows").to_arrow_table()


READERS = {"pylance": by_pylance, "LanceDB": by_lancedb, "DuckDB": by_duckdb}


def open_all(tables):
    """What each reader says of each table: `ok`, or what is wrong."""
    report = []
    for table in tables:
        opened = {"kind": table["kind"], "rows": table["rows"]}
        for name, read in READERS.items():
            try:
                found = read(Path(table["path"]))
                total = pc.sum(found.column(table["columns"][0])).as_py() or 0
                problems = [
                    f"{what} {got} instead of {wanted}"
                    for what, got, wanted in [
                        ("rows", found.num_rows, table["rows"]),
                        ("columns", found.column_names, table["columns"]),
                        ("a sum", int(total), table["sum"]),
                    ]
                    if got != wanted
                ]
                opened[name] = "; ".join(problems) or "ok"
            except Exception as error:  # noqa: BLE001, all of it is to be told
                opened[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        report.append(opened)
    return {"opened": report}


def main():
    mode, *args = sys.argv[1:]
    if mode == "write-scan":
        report = write_scan(args[0], *map(int, args[1:]))
    elif mode == "take":
        report = take(args[0], int(args[1]))
    elif mode == "open":
        report = open_all(json.load(sys.stdin)["tables"])
    else:
        sys.exit(f"{mode} is nothing that this program does")
    report["version"] = f"pylance {lance.__version__}"
    report["readers"] = f"pylance {lance.__version__}, LanceDB {lancedb.__version__}, DuckDB {duckdb.__version__}"
    print(json.dumps(report))


main()
