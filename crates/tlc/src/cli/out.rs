//! Standard output. Who stops reading it, as `head` does, is no error, and work that writes tables goes on.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The first failure that was not a closed pipe.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line to standard output.
macro_rules! say {
    () => { $crate::cli::out::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::out::write(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) fn write(text: fmt::Arguments<'_>) {
    note(io::stdout().lock().write_fmt(text));
}

/// The bytes of a file, to standard output.
pub(crate) fn write_bytes(bytes: &[u8]) {
    note(io::stdout().lock().write_all(bytes));
}

fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        FAILURE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Fails if something could not be printed, such as onto a full disk.
pub(crate) fn finish() -> io::Result<()> {
    note(io::stdout().lock().flush());
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}
