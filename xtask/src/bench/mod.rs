//! `cargo xtask bench`: criterion's benchmarks of our stages, or with `--peers` tlc beside its peers.
//!
//! The comparison runs every program on the same files, one process per measurement, ours and theirs in
//! turn, measures every layout with one program, and writes a page with tables and plots into
//! `benches/results`. What is run is in `contenders`, on what in `data`; `benches/peers` holds the
//! programs. Nothing of a peer enters the workspace: Python packages live in a virtual environment in the
//! cache, the Rust crates in a workspace of their own.

mod collection;
mod contenders;
mod data;
mod environment;
mod measure;
mod page;
mod tables;
mod view;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

pub(crate) use self::measure::today;
use self::measure::{Kind, Records};
use crate::{EVERYTHING, cargo, setup};

/// tlc beside umap-learn, pacmap, annembed, umap-rs and the pacmap crate, on the same data.
#[derive(Parser)]
#[command(name = "cargo xtask bench --peers", no_binary_name = true)]
struct PeersArgs {
    #[arg(long, required = true, hide = true)]
    peers: bool,
    /// Small data and one repetition: whether everything works, in some minutes; the page goes into the cache
    #[arg(long)]
    quick: bool,
    /// Only data or contenders with one of these in their names, such as `fashion` or `pacmap`; `collection` for that
    /// beside Python's forward hooks, `tables` for those beside pylance, `view` for the page in a browser
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only data of these numbers of rows, such as `2k,60k,1m`
    #[arg(long, value_delimiter = ',', value_parser = data::parse_size)]
    sizes: Vec<usize>,
    /// Repetitions, each with a seed of its own: times and qualities are medians over them [default: 3]
    #[arg(long)]
    seeds: Option<u64>,
    /// Keep what today's records hold already
    #[arg(long)]
    resume: bool,
    /// Measure nothing, write the page of today's records again
    #[arg(long)]
    page_only: bool,
}

impl PeersArgs {
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--peers") {
        return peers(&PeersArgs::parse_from(args), args);
    }
    setup::run()?;
    let select = ["--profile", "dev", "--bench", "collect", "--bench", "reduce", "--bench", "table", "--"];
    cargo::run(&[&["bench"], &EVERYTHING[..], &select].concat(), args)
}

fn peers(args: &PeersArgs, line: &[String]) -> Result<()> {
    type Comparison = (&'static str, fn(bool) -> Result<PathBuf>);
    let comparisons: [Comparison; 3] =
        [(collection::NAME, collection::run), (tables::NAME, tables::run), (view::NAME, view::run)];
    for (name, compare) in comparisons {
        let is_wanted = args.only.is_empty() || args.only.iter().any(|part| part == name);
        if is_wanted && !args.page_only {
            setup::run()?;
            println!("written: {}", compare(args.quick)?.display());
        }
    }
    let is_other = |part: &String| !comparisons.iter().any(|(name, _)| part == name);
    if !args.only.is_empty() && !args.only.iter().any(is_other) {
        return Ok(());
    }
    let selected = contenders::select(args, &data::select(args));
    if selected.is_empty() {
        bail!(
            "nothing is left of data {} and contenders {} with these options",
            data::ALL.map(|data| data.name).join(", "),
            contenders::ALL.map(|contender| contender.name).join(", ")
        );
    }
    let mut records = Records::open(args.resume || args.page_only, args.quick)?;
    if !args.page_only {
        setup::run()?;
        let programs = environment::provide(&selected)?;
        for bout in &selected {
            data::provide(bout.data, &programs)?;
            for seed in 0..bout.repetitions(args.seeds()) {
                for contender in bout.contenders.iter().filter(|contender| seed == 0 || contender.is_repeated) {
                    records.measure(bout.data, contender, seed, Kind::Warm, &programs)?;
                }
            }
            if bout.data.is_for_first_results {
                for contender in &bout.contenders {
                    for kind in contender.kinds_of_first_results() {
                        records.measure(bout.data, contender, 0, *kind, &programs)?;
                    }
                }
            }
            // After every bout, so that what was measured can be read when the rest is interrupted.
            page::write(&records, line)?;
        }
        environment::plot(&records)?;
    }
    let path = page::write(&records, line)?;
    println!("written: {}", path.display());
    let failed = records.our_failures();
    if !failed.is_empty() {
        bail!("wrong answers of tlc:\n{}", failed.join("\n"));
    }
    Ok(())
}
