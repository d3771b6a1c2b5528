//! The crates together on real data structures, as a downstream trainer composes them. The command is
//! tested where it is built, in `crates/tlc/tests`.

mod road;
