//! Buckets that are open, and how Lance gets at them: tables and small objects go through one client with one rule for
//! repeated requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lance::io::{ObjectStore, ObjectStoreParams, ObjectStoreRegistry};
use lance_io::object_store::{DEFAULT_CLOUD_IO_PARALLELISM, DEFAULT_DOWNLOAD_RETRY_COUNT, ObjectStoreProvider};
use tlc_core::{Scheme, StoreError, Url};

use super::connect::{Environment, connect};
use super::{Bucket, endpoint};

/// The buckets that were used.
pub(crate) struct Buckets {
    environment: Environment,
    open: Mutex<BTreeMap<String, Arc<Bucket>>>,
}

impl Buckets {
    /// No bucket yet; those to come serve the datasets of `registry`.
    pub(crate) fn new(environment: Environment, registry: &ObjectStoreRegistry) -> Arc<Self> {
        let buckets = Arc::new(Self { environment, open: Mutex::default() });
        for scheme in [Scheme::S3, Scheme::Gs, Scheme::Az] {
            registry.insert(scheme.as_str(), Arc::new(Provider(Arc::downgrade(&buckets))));
        }
        buckets
    }

    /// The bucket of `url`.
    pub(crate) fn get(&self, url: &Url) -> Result<Arc<Bucket>, StoreError> {
        // A bucket is inserted when it is complete, so a panic elsewhere leaves the map sound.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(scheme), Some(name)) = (url.scheme(), url.authority()) else {
            return Err(StoreError::Unsupported { url: url.clone(), reason: "it names no bucket".to_owned() });
        };
        // It becomes part of a host's name or of a path, and may come from a file that somebody else wrote.
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
            let reason =
                format!("the bucket {name:?} has a name of other characters than letters, digits, '.', '-', '_'");
            return Err(StoreError::Unsupported { url: url.clone(), reason });
        }
        let root = format!("{}://{name}", scheme.as_str());
        if let Some(bucket) = open.get(&root) {
            return Ok(bucket.clone());
        }
        let objects = connect(scheme, name, &self.environment)
            .map_err(|reason| StoreError::Unsupported { url: url.clone(), reason })?;
        let may_list_empty = endpoint::may_list_empty_folders(scheme, &self.environment);
        let bucket = Arc::new(Bucket::new(root.parse()?, objects, may_list_empty));
        open.insert(root, bucket.clone());
        Ok(bucket)
    }
}

/// Hands Lance the client of a bucket. Weak, since the registry lives in what also holds the buckets.
struct Provider(Weak<Buckets>);

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

#[async_trait::async_trait]
impl ObjectStoreProvider for Provider {
    async fn new_store(&self, base: url::Url, _: &ObjectStoreParams) -> lance::Result<ObjectStore> {
        let failed = |text: String| lance::Error::invalid_input(text);
        let buckets = self.0.upgrade().ok_or_else(|| failed("the store is closed".to_owned()))?;
        let root: Url =
            format!("{}://{}", base.scheme(), base.authority()).parse().map_err(|error| failed(format!("{error}")))?;
        let bucket = buckets.get(&root).map_err(|error| failed(error.to_string()))?;
        // Directory buckets of S3 Express list in no order; R2 wants parts of one size.
        let is_ordered = !base.authority().ends_with("--x-s3");
        let is_of_constant_parts =
            buckets.environment.endpoint(Scheme::S3).is_some_and(|(_, url)| url.contains("r2.cloudflare"));
        Ok(ObjectStore::new(
            bucket.objects.clone(),
            base,
            None,
            None,
            is_of_constant_parts,
            is_ordered,
            DEFAULT_CLOUD_IO_PARALLELISM,
            DEFAULT_DOWNLOAD_RETRY_COUNT,
            None,
        ))
    }
}
