//! The most memory that a measured Rust process held, as `peer.py` reads it for Python: the kernel's `VmHWM`. Unlike
//! `ru_maxrss` it does not begin with the size of the process that started this one.
//!
//! Included by `#[path]` where it is read: by `job.rs`, which is in several workspaces, and by programs of ours.

/// In KiB; nothing where the system does not say.
pub(crate) fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches("kB").trim().parse().ok()
}
