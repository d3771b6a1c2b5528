//! Debian packages, with the rights that there are.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo::finish;

/// What each package is for.
pub(crate) const PACKAGES: [(&str, &str); 7] = [
    ("g++", "compiles the C++ side of torch-sys"),
    ("pkg-config", "finds OpenBLAS"),
    ("libopenblas-dev", "OpenBLAS with LAPACK, for tlc-reduce"),
    ("protobuf-compiler", "protoc, which Lance's build scripts call"),
    ("libprotobuf-dev", "the message definitions that come with protoc"),
    ("python3-venv", "environments for the S3 server of the tests, for bench --peers and for parity"),
    ("dataset-fashion-mnist", "the demo's images"),
];

/// What tests need, and work on the page: nobody else needs node.
pub(crate) const PAGE_PACKAGES: [(&str, &str); 3] = [
    ("nodejs", "runs the Azure server of the tests, builds the page and runs its tests"),
    ("npm", "installs that server, and what the page is built with"),
    ("chromium-headless-shell", "the browser of the page's tests"),
];

/// `None` where there is no dpkg.
pub(crate) fn is_installed(package: &str) -> Option<bool> {
    let output = Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]).output().ok()?;
    Some(output.status.success() && output.stdout == b"installed")
}

pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> =
        PACKAGES.iter().map(|(package, _)| *package).filter(|package| is_installed(package) == Some(false)).collect();
    match has_dpkg() {
        true => install_packages(&missing),
        false => check_elsewhere(),
    }
}

/// Installs what is missing of node, npm and a browser, wherever they come from.
pub(crate) fn install_for_page() -> Result<()> {
    install_unless_found(&PAGE_PACKAGES.map(|(package, _)| package))
}

/// The same of node and npm alone.
pub(crate) fn install_node() -> Result<()> {
    install_unless_found(&["nodejs", "npm"])
}

fn install_unless_found(packages: &[&str]) -> Result<()> {
    let has_browser = || has_command("chromium-headless-shell") || has_command("chromium") || has_own_browser();
    let is_missing = |package: &&str| match *package {
        "nodejs" => !has_command("node"),
        "npm" => !has_command("npm"),
        _ => !has_browser(),
    };
    let missing: Vec<&str> = packages.iter().copied().filter(is_missing).collect();
    if missing.is_empty() || has_dpkg() {
        return install_packages(&missing);
    }
    bail!("this is not a Debian system; install by its own means: {}", missing.join(", "))
}

fn has_command(name: &str) -> bool {
    succeeds(Command::new(name).arg("--version"))
}

/// Named as the page's tests read it.
fn has_own_browser() -> bool {
    std::env::var_os("TLC_CHROMIUM").is_some_and(|path| std::path::Path::new(&path).is_file())
}

fn has_dpkg() -> bool {
    is_installed(PACKAGES[0].0).is_some()
}

fn install_packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("sudo apt-get update && sudo apt-get install --no-install-recommends {}", missing.join(" "));
    let is_root = succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    let has_sudo = succeeds(Command::new("sudo").args(["-n", "true"]));
    if !is_root && !has_sudo {
        bail!("these Debian packages are missing; install them with\n\n    {by_hand}\n");
    }
    println!("installing Debian packages: {}", missing.join(" "));
    let apt = |args: &[&str]| {
        let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root {
            command.arg("apt-get");
        }
        finish(command.arg("-qq").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing].concat())
}

/// On other systems nothing is installed, but what is missing is named.
fn check_elsewhere() -> Result<()> {
    let mut missing = Vec::new();
    if !succeeds(Command::new("protoc").arg("--version")) {
        missing.push("protoc (the protobuf compiler)");
    }
    if !succeeds(Command::new("pkg-config").args(["--exists", "openblas"])) {
        missing.push("OpenBLAS with LAPACK, visible to pkg-config");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this is not a Debian system; install by its own means: {}", missing.join(", "))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
