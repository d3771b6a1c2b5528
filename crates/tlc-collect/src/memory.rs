//! Memory whose size comes from the user: asked for before it is used, so that there is an error where there is not
//! enough.

use crate::CollectError;

/// Room for `n` values, of which none is there yet; `action` is what they are for.
pub(crate) fn reserve<T>(n: usize, action: impl FnOnce() -> String) -> Result<Vec<T>, CollectError> {
    let mut values = Vec::new();
    match values.try_reserve_exact(n) {
        Ok(()) => Ok(values),
        Err(_) => Err(CollectError::OutOfMemory { action: action(), bytes: n as u128 * size_of::<T>() as u128 }),
    }
}

/// How many bytes libtorch could not get, if that is what its message says.
pub(crate) fn refused_by_libtorch(message: &str) -> Option<u128> {
    let (_, rest) = message.split_once("can't allocate memory: you tried to allocate ")?;
    rest.split_once(" bytes")?.0.parse().ok()
}

/// Bytes as people read them.
pub(crate) fn readable(bytes: u128) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{size:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error_that_names_the_size() {
        assert_eq!(reserve::<f32>(3, String::new).expect("a few bytes").capacity(), 3);
        let error = reserve::<f32>(1 << 60, || "copy all".to_owned()).expect_err("more than there is");
        let expected = "cannot copy all: that takes 4.6 EB, more memory than can be had; use smaller batches, or a \
                        reshape strategy that makes fewer columns, such as mean";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, CollectError::OutOfMemory { bytes, .. } if bytes == 1 << 62));
    }

    #[test]
    fn libtorchs_own_words_are_understood() {
        let error = tch::Tensor::f_zeros([1 << 40, 1 << 20], tch::kind::FLOAT_CPU).expect_err("more than there is");
        assert_eq!(refused_by_libtorch(&error.to_string()), Some(1 << 62));
        let error = CollectError::torch("make zeros", error);
        assert!(error.to_string().starts_with("cannot make zeros: that takes 4.6 EB"), "{error}");
        assert_eq!(refused_by_libtorch("expected 3 channels"), None);
        assert_eq!([readable(999), readable(1_500)], ["999 bytes", "1.5 kB"]);
    }
}
