//! What is wrong with a project, and how it is put right.
//!
//! First all is looked through (`diagnose.rs`), then each finding is looked at again and put right (`repair.rs`). What is
//! half done may be somebody's work of this moment (`in_use.rs`), so that age decides.

mod diagnose;
mod finding;
mod folders;
mod in_use;
mod repair;

use std::time::Duration;

use tlc_core::{Progress, with_causes};

pub use self::finding::{Finding, Problem};
use crate::{Project, RunError};

/// How a project is looked over.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// Whether what can be put right is. Default false: it is only told.
    pub repair: bool,
    /// Whether all rows are read and compared with their digests. Default true.
    pub verify: bool,
    /// Where something was written more recently, somebody may still be at work, and it is let be. Default one hour.
    pub least_age: Duration,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { repair: false, verify: true, least_age: Duration::from_secs(3600) }
    }
}

impl Project {
    /// Looks for what is damaged and what was left half done, and puts right what can be, if that is asked for.
    ///
    /// # Errors
    /// A store that cannot be looked through; cancellation. What was put right until then stays so. What cannot be looked
    /// at, or put right, is part of the answer.
    pub fn doctor(&self, options: &DoctorOptions, progress: &Progress) -> Result<Vec<Finding>, RunError> {
        let mut findings = self.diagnose(options, progress)?;
        if options.repair {
            for finding in findings.iter_mut().filter(|finding| finding.failure.is_none()) {
                match self.put_right(&finding.url, &finding.problem, options, progress) {
                    Ok(is_repaired) => finding.is_repaired = is_repaired,
                    Err(error) if error.is_cancelled() => return Err(error),
                    Err(error) => finding.failure = Some(with_causes(&error)),
                }
            }
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests;
