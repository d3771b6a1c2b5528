//! tlc as its users see it: the command, and the crates together.

mod command;
mod library;
