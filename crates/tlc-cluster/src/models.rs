//! Fitted models as the functions find them: by place and digest, fetched once per process.
//!
//! Functions are stateless, so that a plan holds nothing but texts: what was fetched is the process's, and so are the
//! credentials that it was fetched with.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tlc_core::{FittedReducer, MODEL_DOCUMENT, ReduceError, TableStore, Url, decode_model, digest};
use tlc_table::LanceStore;

use crate::ClusterError;

/// Models that are kept; of more, the one that was not used for longest is dropped.
const KEPT_MODELS: usize = 8;

/// Where this process reads and writes, with the endpoints and credentials of its own environment.
pub(crate) fn store() -> &'static LanceStore {
    static STORE: OnceLock<LanceStore> = OnceLock::new();
    STORE.get_or_init(LanceStore::default)
}

/// The model in the folder `url`, whose document has this digest (`sha256:` may be left out).
pub(crate) fn model(url: &Url, digest: &str) -> Result<Arc<dyn FittedReducer>, ClusterError> {
    static KEPT: Models = Models(Mutex::new(Vec::new()));
    KEPT.get(digest, |digest| fetch(url, digest))
}

/// The digest of the document of the model in the folder `url`.
pub(crate) fn digest_of(url: &Url) -> Result<String, ClusterError> {
    let (document, _) = store().read_object(&url.join(MODEL_DOCUMENT)?)?;
    Ok(digest::of_bytes(&document))
}

/// `sha256:` and the digits in lower case.
fn normalised(digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("sha256:{}", digits.to_lowercase())
}

fn fetch(url: &Url, expected: &str) -> Result<Arc<dyn FittedReducer>, ClusterError> {
    let (document, _) = store().read_object(&url.join(MODEL_DOCUMENT)?)?;
    let found = digest::of_bytes(&document);
    if found != expected {
        return Err(ClusterError::ModelDigest { url: url.clone(), found, expected: expected.to_owned() });
    }
    let arrays = |name: &str| {
        let read = url.join(name).map_err(ClusterError::from).and_then(|file| Ok(store().read_object(&file)?.0));
        read.map_err(|error| ReduceError::backend("read the model's arrays", error))
    };
    let fitted = decode_model(&document, arrays);
    Ok(fitted.map_err(|source| ClusterError::Model { url: url.clone(), source })?.into())
}

/// Those that were used last, the newest first. Each has a lock of its own: tasks that need the same one wait for one
/// of them to fetch it, those that need another do not.
struct Models(Mutex<Vec<(String, Slot)>>);

type Slot = Arc<Mutex<Option<Arc<dyn FittedReducer>>>>;

impl Models {
    fn get(
        &self,
        digest: &str,
        fetch: impl FnOnce(&str) -> Result<Arc<dyn FittedReducer>, ClusterError>,
    ) -> Result<Arc<dyn FittedReducer>, ClusterError> {
        let digest = normalised(digest);
        let slot = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let found = kept.iter().position(|(known, _)| *known == digest);
            let entry = found.map_or_else(|| (digest.clone(), Slot::default()), |at| kept.remove(at));
            let slot = entry.1.clone();
            kept.insert(0, entry);
            kept.truncate(KEPT_MODELS);
            slot
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = slot.as_ref() {
            return Ok(model.clone());
        }
        let model = fetch(&digest)?;
        *slot = Some(model.clone());
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use tlc_core::{Progress, reducer_from_args};
    use tlc_reduce as _;

    use super::*;

    fn fitted() -> Arc<dyn FittedReducer> {
        let data = Array2::from_shape_fn((20, 4), |(i, d)| ((i * 7 + d * 3) % 11) as f32);
        let pca = reducer_from_args("pca", Default::default()).expect("linked");
        pca.fit(data.view(), &Progress::default()).expect("fits").into()
    }

    #[test]
    fn a_model_is_fetched_once_until_others_push_it_out() {
        let (models, fitted) = (Models(Mutex::default()), fitted());
        let fetches = Mutex::new(Vec::new());
        let get = |digest: &str| {
            let fetch = |digest: &str| {
                fetches.lock().expect("sound").push(digest.to_owned());
                Ok(fitted.clone())
            };
            models.get(digest, fetch).expect("fetched");
        };
        get("sha256:aa");
        get("AA");
        assert_eq!(*fetches.lock().expect("sound"), ["sha256:aa"], "two spellings of one digest");
        (0..KEPT_MODELS - 1).for_each(|i| get(&format!("{i}")));
        get("aa");
        assert_eq!(fetches.lock().expect("sound").len(), KEPT_MODELS, "it is one of the last that were used");
        get("x");
        get("aa");
        assert_eq!(fetches.lock().expect("sound").len(), KEPT_MODELS + 1, "another one was dropped");
        get("0");
        assert_eq!(fetches.lock().expect("sound").len(), KEPT_MODELS + 2);
    }

    #[test]
    fn what_could_not_be_fetched_is_tried_again() {
        let (models, fitted) = (Models(Mutex::default()), fitted());
        let failing = |digest: &str| {
            let (url, expected) = ("file:///m".parse().expect("a URL"), digest.to_owned());
            Err(ClusterError::ModelDigest { url, found: "sha256:bb".to_owned(), expected })
        };
        let error = models.get("aa", failing).expect_err("it is another one");
        assert!(error.to_string().contains("has the digest sha256:bb, sha256:aa was asked for"), "{error}");
        models.get("aa", |_| Ok(fitted)).expect("now it is there");
    }
}
