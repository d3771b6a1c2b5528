//! The tables of `docs/scale.md`: time, memory, bytes and cost of placing rows of 512 values, from figures per row.
//!
//! ```text
//! cargo run --workspace --all-features --bin sizing
//! ```
//!
//! The figures below are what the program `scale` prints on the machine in question, put in relation to one core and
//! one row; `docs/scale.md` says from which of its columns each comes.

#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

/// Values per row, of 4 bytes.
const WIDTH: f64 = 512.0;
/// Core-seconds to place one row among `FITTED_ROWS`: cores / (column "place, rows/s").
const PLACE_CORE_SECONDS: f64 = 86e-6;
/// Rows that the model is fitted on, and the core-seconds of that fit: (column "fit, s") × cores.
const FITTED_ROWS: f64 = 100_000.0;
const FIT_CORE_SECONDS: f64 = 31.0;
/// Memory at the peak of that fit, with its rows: column "fit, peak MiB".
const FIT_BYTES: f64 = 1679e6;
/// Bytes per second that one process reads from local disk and hashes: the digest is made by one thread.
const READ_AND_HASH: f64 = 500e6;
/// Bytes per second that one worker reads from an object store.
const READ_REMOTE: f64 = 250e6;
/// Bytes per row of the result: number of the sample, two coordinates, score.
const RESULT_BYTES: f64 = 20.0;
/// Bytes per second at which results are written, hashed and read back, by one process.
const WRITE_RESULT: f64 = 450e6;
/// Cores and memory of one worker; what rows in flight take of that.
const CORES: f64 = 8.0;
const IN_FLIGHT_BYTES: f64 = 1150e6;
/// Seconds that a job on a cluster takes besides: plan, start of tasks, model read by each worker.
const JOB_SECONDS: f64 = 10.0;
/// US dollars per core and hour, and per gigabyte and month in an object store.
const CORE_HOUR: f64 = 0.05;
const GIGABYTE_MONTH: f64 = 0.023;
/// Floating-point operations per second and core of the search for neighbours.
const FLOPS_PER_CORE: f64 = 48e9;
/// Cells that each cell is joined with, as `RUST_LOG=info tlc neighbours` says: for clusters that are spread in 16
/// directions, ten neighbours, and a recall of .95.
const JOINED: f64 = 142.0;

const ROWS: [f64; 4] = [1e6, 1e7, 1e8, 1e9];
const WORKERS: [f64; 3] = [1.0, 10.0, 100.0];

fn main() {
    place();
    println!();
    neighbours();
}

/// Placing all rows by a model.
fn place() {
    println!(
        "| rows × 512 | read | result | workers | time | limited by | memory per worker | core-hours | cost | storage per month |"
    );
    println!("|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|");
    // The model holds its rows and their components; cells and layout are small beside these.
    let place_bytes = FITTED_ROWS * 4.0 * (WIDTH + 128.0) + IN_FLIGHT_BYTES;
    for rows in ROWS {
        let (read, result) = (rows * 4.0 * WIDTH, rows * RESULT_BYTES);
        for workers in WORKERS {
            let compute = rows * PLACE_CORE_SECONDS / (CORES * workers);
            let (reading, overhead) = match workers {
                1.0 => (read / READ_AND_HASH, 0.0),
                _ => (read / (READ_REMOTE * workers), JOB_SECONDS),
            };
            // The only worker fits as well, before it places; the workers of a cluster do not.
            let memory = if workers == 1.0 { place_bytes.max(FIT_BYTES) } else { place_bytes };
            let commit = result / WRITE_RESULT;
            let fit = FIT_CORE_SECONDS / CORES;
            let parts =
                [("placing", compute), ("reading", reading), ("the commit", commit), ("start and fit", overhead + fit)];
            let limited_by = parts.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |part| part.0);
            let seconds = fit + overhead + compute.max(reading) + commit;
            let core_hours = seconds * workers * CORES / 3600.0;
            println!(
                "| {} | {} | {} | {workers} | {} | {limited_by} | {} | {} | {} $ | {} $ |",
                count(rows),
                bytes(read),
                bytes(result),
                time(seconds),
                bytes(memory),
                short(core_hours),
                short(core_hours * CORE_HOUR),
                short((read + result) / 1e9 * GIGABYTE_MONTH),
            );
        }
    }
}

/// The neighbours of all rows on one machine, by cells in a file.
fn neighbours() {
    println!("| rows × 512 | cells | rows per cell | bookkeeping | files | arithmetic | time on 8 cores |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for rows in ROWS {
        let cells = 4.0 * rows.sqrt();
        // Centres of cells, and for each its nearest 192.
        let of_cells = cells * (4.0 * WIDTH + 4.0 * 192.0);
        let operations = rows * JOINED * (rows / cells) * 2.0 * WIDTH;
        println!(
            "| {} | {cells:.0} | {:.0} | {} | {} | {operations:.1e} | {} |",
            count(rows),
            rows / cells,
            bytes(8.0 * rows + of_cells),
            bytes(rows * (4.0 * WIDTH + 8.0 * 10.0)),
            time(operations / (FLOPS_PER_CORE * CORES)),
        );
    }
}

fn count(rows: f64) -> String {
    if rows >= 1e9 { format!("{} B", rows / 1e9) } else { format!("{} M", rows / 1e6) }
}

fn bytes(bytes: f64) -> String {
    let (unit, name) =
        [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")].into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1e3, "kB"));
    format!("{} {name}", short(bytes / unit))
}

fn time(seconds: f64) -> String {
    let (unit, name) =
        [(3600.0, "h"), (60.0, "min")].into_iter().find(|(unit, _)| seconds >= 2.0 * unit).unwrap_or((1.0, "s"));
    format!("{} {name}", short(seconds / unit))
}

/// Two digits.
fn short(value: f64) -> String {
    if value >= 10.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.1}")
    } else if value >= 0.01 {
        format!("{value:.2}")
    } else {
        "< 0.01".to_owned()
    }
}
