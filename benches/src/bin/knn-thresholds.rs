//! The table behind the `auto` search for neighbours: seconds by `exact` and by `cells` for 15 neighbours, over
//! numbers of rows and widths, as Markdown.
//!
//! ```text
//! cargo run --workspace --all-features --bin knn-thresholds > benches/results/knn-thresholds.md
//! ```

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::process::Command;
use std::time::Instant;

use ndarray::Array2;
use tlc::core::{Progress, ReduceError};
use tlc::reduce::knn::{GraphReport, Index, KnnMethod, KnnOptions};
use tlc_benches::clusters;

const N_ROWS: [usize; 7] = [2_000, 3_000, 4_500, 6_500, 9_500, 14_000, 20_000];
const WIDTHS: [usize; 5] = [3, 16, 64, 128, 512];
const K: usize = 15;
const REPETITIONS: usize = 3;

fn main() -> Result<(), ReduceError> {
    println!("# Neighbours: `exact` beside `cells`\n");
    println!(
        "{}, {} threads, {}; {K} neighbours of each row, index included; the best of {REPETITIONS}, in turn. Ten \
         Gaussian clusters. Recall is that of cells. `auto` takes the faster one, but where `exact` is hardly slower \
         or recall is low in a fit, `cells` may be chosen all the same: every new row that a model places is compared \
         with all rows by the one, with near cells by the other.\n",
        said("uname", &["-m"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        said("date", &["+%F"]),
    );
    println!("| columns | rows | exact, s | cells, s | recall | faster | auto |");
    println!("|---:|---:|---:|---:|---:|---|---|");
    for width in WIDTHS {
        for n in N_ROWS {
            let rows = clusters(n, width);
            let (mut exact, mut cells, mut recall) = (f64::INFINITY, f64::INFINITY, 0.0);
            for _ in 0..REPETITIONS {
                exact = exact.min(timed(&rows, KnnMethod::Exact)?.0);
                let (seconds, report) = timed(&rows, KnnMethod::Cells)?;
                (cells, recall) = (cells.min(seconds), report.recall);
            }
            let faster = if exact <= cells { "exact" } else { "cells" };
            let (_, auto) = timed(&rows, KnnMethod::Auto)?;
            let auto = if auto.method == KnnMethod::Exact { "exact" } else { "cells" };
            println!("| {width} | {n} | {exact:.3} | {cells:.3} | {recall:.3} | {faster} | {auto} |");
        }
    }
    Ok(())
}

/// What a command prints.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn timed(rows: &Array2<f32>, method: KnnMethod) -> Result<(f64, GraphReport), ReduceError> {
    let (rows, progress) = (rows.clone(), Progress::default());
    let started = Instant::now();
    let index = Index::build_with(rows, KnnOptions { method, ..KnnOptions::default() }, &progress)?;
    let (_, report) = index.graph_with_report(K, &progress)?;
    Ok((started.elapsed().as_secs_f64(), report))
}
