//! Fitted models as the functions find them: by place and digest, fetched once per process.
//!
//! Functions are stateless, so that a plan holds nothing but texts: what was fetched is the process's, and so are the
//! credentials that it was fetched with.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tlc_core::{FittedReducer, MODEL_DOCUMENT, ReduceError, TableStore, Url, decode_model, digest};
use tlc_table::LanceStore;

use crate::ClusterError;

/// Bytes of the files of models that are kept; of more, those that were not used for longest are dropped. One is kept
/// however large it is.
const KEPT_BYTES: u64 = 2 << 30;

/// Where this process reads and writes, with the endpoints and credentials of its own environment.
pub(crate) fn store() -> &'static LanceStore {
    static STORE: OnceLock<LanceStore> = OnceLock::new();
    STORE.get_or_init(LanceStore::default)
}

/// The model in the folder `url`, whose document has this digest (`sha256:` may be left out).
pub(crate) fn model(url: &Url, digest: &str) -> Result<Arc<dyn FittedReducer>, ClusterError> {
    static KEPT: Models = Models::new(KEPT_BYTES);
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

/// A model, and the bytes of its files.
type Fetched = (Arc<dyn FittedReducer>, u64);

fn fetch(url: &Url, expected: &str) -> Result<Fetched, ClusterError> {
    let (document, _) = store().read_object(&url.join(MODEL_DOCUMENT)?)?;
    let found = digest::of_bytes(&document);
    if found != expected {
        return Err(ClusterError::ModelDigest { url: url.clone(), found, expected: expected.to_owned() });
    }
    let mut bytes = document.len() as u64;
    let arrays = |name: &str| {
        let read = url.join(name).map_err(ClusterError::from).and_then(|file| Ok(store().read_object(&file)?.0));
        let content = read.map_err(|error| ReduceError::backend("read the model's arrays", error))?;
        bytes += content.len() as u64;
        Ok(content)
    };
    let fitted = decode_model(&document, arrays);
    Ok((fitted.map_err(|source| ClusterError::Model { url: url.clone(), source })?.into(), bytes))
}

/// Models that were fetched or are being fetched.
struct Models {
    /// Those that were used last, the newest first.
    kept: Mutex<Vec<Kept>>,
    /// How many bytes are kept.
    limit: u64,
}

struct Kept {
    digest: String,
    slot: Slot,
    /// Of the model's files; 0 until they are fetched.
    bytes: u64,
}

/// A model, once it is fetched. Locked meanwhile: tasks that need the same one wait for one of them to fetch it, those
/// that need another do not.
type Slot = Arc<Mutex<Option<Arc<dyn FittedReducer>>>>;

impl Models {
    const fn new(limit: u64) -> Self {
        Self { kept: Mutex::new(Vec::new()), limit }
    }

    fn get(
        &self,
        digest: &str,
        fetch: impl FnOnce(&str) -> Result<Fetched, ClusterError>,
    ) -> Result<Arc<dyn FittedReducer>, ClusterError> {
        let digest = normalised(digest);
        let slot = self.slot(&digest);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*slot {
            return Ok(model.clone());
        }
        // If that fails the slot stays, and whoever needs the model next tries again.
        let (model, bytes) = fetch(&digest)?;
        *slot = Some(model.clone());
        self.keep(&digest, bytes);
        Ok(model)
    }

    /// The slot of a model, which is the one that was used last then.
    fn slot(&self, digest: &str) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        first(&mut kept, digest).slot.clone()
    }

    /// Notes the size of a model that was fetched, and makes room for it.
    fn keep(&self, digest: &str, bytes: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have been used since it was asked for.
        first(&mut kept, digest).bytes = bytes;
        let mut sum = 0_u64;
        kept.retain(|it| {
            sum = sum.saturating_add(it.bytes);
            let is_being_fetched = it.bytes == 0;
            sum <= self.limit || it.digest == digest || is_being_fetched
        });
    }
}

/// The entry of a model, made the first of all; a new one if there is none.
fn first<'a>(kept: &'a mut Vec<Kept>, digest: &str) -> &'a mut Kept {
    match kept.iter().position(|it| it.digest == digest) {
        Some(at) => kept[..=at].rotate_right(1),
        None => kept.insert(0, Kept { digest: digest.to_owned(), slot: Slot::default(), bytes: 0 }),
    }
    &mut kept[0]
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

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
        let (models, fitted) = (Models::new(100), fitted());
        let fetches = Mutex::new(Vec::new());
        let get = |digest: &str, bytes: u64| {
            let fetch = |digest: &str| {
                fetches.lock().expect("sound").push(digest.to_owned());
                Ok((fitted.clone(), bytes))
            };
            models.get(digest, fetch).expect("fetched");
        };
        let n_fetches = || fetches.lock().expect("sound").len();
        get("sha256:aa", 40);
        get("AA", 40);
        assert_eq!(*fetches.lock().expect("sound"), ["sha256:aa"], "two spellings of one digest");
        get("bb", 30);
        get("cc", 30);
        get("aa", 40);
        assert_eq!(n_fetches(), 3, "all three fit");
        get("dd", 20);
        get("aa", 40);
        get("cc", 30);
        assert_eq!(n_fetches(), 4, "the one that was not used for longest went");
        get("bb", 30);
        assert_eq!(n_fetches(), 5);
        get("ee", 1000);
        get("ee", 1000);
        assert_eq!(n_fetches(), 6, "one that is too large is kept, alone");
        get("bb", 30);
        assert_eq!(n_fetches(), 7);
    }

    #[test]
    fn what_could_not_be_fetched_is_tried_again_and_pushes_nothing_out() {
        let (models, fitted) = (Models::new(100), fitted());
        let failing = |digest: &str| {
            let (url, expected) = ("file:///m".parse().expect("a URL"), digest.to_owned());
            Err(ClusterError::ModelDigest { url, found: "sha256:bb".to_owned(), expected })
        };
        let unwanted = |_: &str| -> Result<Fetched, ClusterError> { panic!("it is kept") };
        models.get("cc", |_| Ok((fitted.clone(), 100))).expect("fetched");
        let error = models.get("aa", failing).expect_err("it is another one");
        assert!(error.to_string().contains("has the digest sha256:bb, sha256:aa was asked for"), "{error}");
        models.get("cc", unwanted).expect("kept");
        models.get("aa", |_| Ok((fitted, 1))).expect("now it is there");
        models.get("aa", unwanted).expect("kept");
    }

    #[test]
    fn a_model_that_is_being_fetched_is_waited_for_and_not_pushed_out() {
        let (models, fitted) = (Models::new(100), fitted());
        let n_fetches = AtomicU32::new(0);
        let fetch = |_: &str| {
            n_fetches.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(50));
            Ok((fitted.clone(), 40))
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| models.get("aa", fetch).expect("fetched"));
            }
        });
        assert_eq!(n_fetches.load(Ordering::Relaxed), 1);
        let meanwhile = |_: &str| {
            models.get("cc", |_| Ok((fitted.clone(), 1000))).expect("fetched");
            Ok((fitted.clone(), 40))
        };
        models.get("bb", meanwhile).expect("fetched");
        let unwanted = |_: &str| -> Result<Fetched, ClusterError> { panic!("it is kept") };
        models.get("bb", unwanted).expect("kept");
    }
}
