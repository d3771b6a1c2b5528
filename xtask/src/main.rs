//! The workspace's own commands: `cargo xtask setup | doctor | demo | test | check | bench | parity`.

#![expect(clippy::print_stdout, reason = "this is a command line")]

mod bench;
mod cargo;
mod check;
mod doctor;
mod node;
mod page;
mod parity;
mod places;
mod python;
mod setup;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

/// Set-up, demo, tests, checks and benchmarks of the tlc workspace.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Debian packages, libtorch, example data
    Setup,
    /// Print what is found, and where
    Doctor,
    /// Set up, build, and run `tlc demo` with the given options
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Demo {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up, and run every test, those of the page in a browser; arguments go to `cargo test`, and then only its tests run
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Test {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Format, lints, dependency policy, documentation, licences, README, and whether the page is what its sources build
    Check,
    /// Set up, and run the benchmarks in the profile that users run; arguments go to criterion. With
    /// --peers: tlc beside umap-learn, pacmap and Rust crates (--peers --help tells more)
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Bench {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Compare all layers of exported models with Python's forward hooks (downloads torch and timm)
    Parity,
}

/// One selection of packages and features for all commands, so that the long dependencies compile once.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// The names that can follow `cargo xtask`.
fn command_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Doctor => doctor::run(),
        Command::Demo { args } => {
            setup::run()?;
            cargo::run(&[&["build"], &EVERYTHING[..], &["--bin", "tlc"]].concat(), &[])?;
            cargo::become_binary("tlc", &[vec!["demo".to_owned()], args].concat())
        }
        Command::Test { args } => {
            setup::run()?;
            // The tests of object stores start servers of their own.
            let servers = places::workspace().join("crates/tlc/tests/stores");
            python::environment("s3-server", &servers.join("requirements.txt"))?;
            node::environment("azure-server", &servers.join("azurite"))?;
            cargo::run(&[&["test", "--no-fail-fast"], &EVERYTHING[..]].concat(), &args)?;
            // Whoever names tests means those of cargo.
            if args.is_empty() { page::test() } else { Ok(()) }
        }
        Command::Check => {
            setup::run()?;
            check::run()
        }
        Command::Bench { args } => bench::run(&args),
        Command::Parity => parity::run(),
    }
}
