//! Whether a file is an archive that libtorch may be given: it unpacks code and constants into memory without a limit.

use std::fs::File;
use std::io;
use std::path::Path;

use zip::ZipArchive;

/// Weights are stored as they are; code shrinks to a tenth, seldom to less.
const MAX_RATIO: u64 = 200;
/// What a small file may unpack to, whatever the ratio.
const ALWAYS_FINE: u64 = 64 << 20;

/// Why the file is refused, or `None` if it may be loaded.
pub(super) fn check(file: &Path) -> io::Result<Option<String>> {
    let opened = File::open(file)?;
    let size = opened.metadata()?.len();
    let Ok(mut archive) = ZipArchive::new(opened) else {
        return Ok(Some("it is not a TorchScript archive, or it is cut short".to_owned()));
    };
    let mut unpacked = 0_u64;
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(index) else {
            return Ok(Some(format!("entry {index} of the archive is damaged")));
        };
        unpacked = unpacked.saturating_add(entry.size());
    }
    let limit = size.saturating_mul(MAX_RATIO).max(ALWAYS_FINE);
    Ok((unpacked > limit).then(|| {
        format!("its {size} bytes claim to unpack to {unpacked}, more than {limit}, as an archive made to do harm does")
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bomb.pt");
        let mut archive = ZipWriter::new(File::create(&path).expect("writable"));
        archive.start_file("bomb/code/model.py", SimpleFileOptions::default()).expect("named");
        for _ in 0..(ALWAYS_FINE >> 20) + 1 {
            archive.write_all(&vec![b' '; 1 << 20]).expect("writable");
        }
        archive.finish().expect("whole");
        let reason = check(&path).expect("readable").expect("refused");
        assert!(reason.contains("claim to unpack to 68157440"), "{reason}");
    }
}
