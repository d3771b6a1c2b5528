//! Writes that happen only if an object is absent, or still the version that was read.
//!
//! The answer to such a write can be lost, and who repeats it then finds an object that somebody has changed: itself,
//! and maybe others after it. Each write therefore leaves a token in the object's metadata, before those of the writes
//! that it followed, and looks for its own before it takes the condition for not met: no change is lost, and none is
//! made twice.

use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, GetOptions, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tlc_core::ulid::Ulid;
use tlc_core::{ObjectVersion, Scheme, WriteCondition};

use super::{Bucket, explain};

/// The name of the tokens; Azure takes letters and digits only.
const TOKENS: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("tlcwrites"));
/// Writes that an object remembers.
const REMEMBERED: usize = 16;
/// How often a request is sent that got no answer, unless that took longer than [`PATIENCE`]: the client repeats it,
/// too.
const ATTEMPTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

impl Bucket {
    /// Writes if `condition` holds.
    pub(super) async fn put_if(
        &self,
        key: &Path,
        content: Vec<u8>,
        condition: &WriteCondition,
    ) -> Result<ObjectVersion, Error> {
        let token = Ulid::generate().to_string();
        let (mode, earlier) = match condition {
            WriteCondition::Absent => (PutMode::Create, ""),
            WriteCondition::Unchanged(version) => (self.unchanged(key, version)?, parts(version).1),
        };
        let tokens = std::iter::once(token.as_str()).chain(earlier.split(',').filter(|token| !token.is_empty()));
        let tokens = tokens.take(REMEMBERED).collect::<Vec<_>>().join(",");
        let attributes = Attributes::from_iter([(TOKENS, tokens.clone())]);
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let payload = object_store::PutPayload::from(content);
        let (mut attempt, started) = (1, Instant::now());
        loop {
            let error = match self.objects.put_opts(key, payload.clone(), options.clone()).await {
                Ok(written) => return Ok(self.version(written.e_tag, written.version, &tokens)),
                Err(error) => error,
            };
            let is_unmet = matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. });
            if !is_unmet && !matches!(error, Error::Generic { .. }) {
                return Err(error);
            }
            // Without an answer to this, it is not known whether the condition held or the write was done.
            if let Some(version) = self.written_by(key, &token).await? {
                return Ok(version);
            }
            let is_last = attempt == ATTEMPTS || started.elapsed() > PATIENCE;
            if is_unmet || is_last || !explain::lost_answer(&error) {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// The object's version, if the write with `token` made it; one that no object has, if others followed.
    async fn written_by(&self, key: &Path, token: &str) -> Result<Option<ObjectVersion>, Error> {
        let found = match self.objects.get_opts(key, GetOptions { head: true, ..GetOptions::default() }).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let tokens = found.attributes.get(&TOKENS).map(|tokens| tokens.as_ref()).unwrap_or_default();
        Ok(tokens.split(',').position(|known| known == token).map(|place| match place {
            0 => self.version(found.meta.e_tag.clone(), found.meta.version.clone(), tokens),
            _ => ObjectVersion(String::new()),
        }))
    }

    /// The content of an object, and its version.
    pub(super) async fn read(&self, key: &Path) -> Result<(Vec<u8>, ObjectVersion), Error> {
        let mut attempt = 1;
        loop {
            let answer = self.objects.get(key).await?;
            let tokens = answer.attributes.get(&TOKENS).map(|tokens| tokens.as_ref().to_owned()).unwrap_or_default();
            let version = self.version(answer.meta.e_tag.clone(), answer.meta.version.clone(), &tokens);
            match answer.bytes().await {
                Ok(content) => return Ok((content.into(), version)),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// What its store calls a version, and the tokens.
    fn version(&self, e_tag: Option<String>, generation: Option<String>, tokens: &str) -> ObjectVersion {
        let name = if self.root.scheme() == Some(Scheme::Gs) { generation } else { e_tag };
        ObjectVersion(format!("{} {tokens}", name.unwrap_or_default()))
    }

    fn unchanged(&self, key: &Path, version: &ObjectVersion) -> Result<PutMode, Error> {
        let name = parts(version).0;
        if name.is_empty() {
            return Err(Error::Precondition { path: key.to_string(), source: "it was replaced meanwhile".into() });
        }
        let name = Some(name.to_owned());
        Ok(PutMode::Update(match self.root.scheme() {
            Some(Scheme::Gs) => UpdateVersion { e_tag: None, version: name },
            _ => UpdateVersion { e_tag: name, version: None },
        }))
    }

    /// The condition that the store ignores, or takes for never met, if there is one; tried out on an object in
    /// `folder`.
    pub(super) async fn first_condition_not_honoured(&self, folder: &Path) -> Result<Option<&'static str>, Error> {
        let key = folder.clone().join(format!(".tlc-probe-{}", Ulid::generate()));
        let ignored = self.try_out(&key).await;
        if let Err(error) = self.objects.delete(&key).await {
            tracing::debug!(%key, %error, "cannot remove the object that conditional writes were tried out on");
        }
        ignored
    }

    async fn try_out(&self, key: &Path) -> Result<Option<&'static str>, Error> {
        let [absent, unchanged] = match self.root.scheme() {
            Some(Scheme::Gs) => ["x-goog-if-generation-match"; 2],
            _ => ["If-None-Match", "If-Match"],
        };
        let first = match self.put_if(key, b"1".to_vec(), &WriteCondition::Absent).await {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => return Ok(Some(absent)),
            written => written?,
        };
        if self.overwrites(key, PutMode::Create).await? {
            return Ok(Some(absent));
        }
        match self.put_if(key, b"2".to_vec(), &WriteCondition::Unchanged(first.clone())).await {
            Err(Error::Precondition { .. }) => return Ok(Some(unchanged)),
            written => written?,
        };
        if self.overwrites(key, self.unchanged(key, &first)?).await? {
            return Ok(Some(unchanged));
        }
        Ok(None)
    }

    /// Whether a write happens although its condition does not hold.
    async fn overwrites(&self, key: &Path, mode: PutMode) -> Result<bool, Error> {
        insist(|| async {
            match self.objects.put_opts(key, b"3".as_slice().into(), mode.clone().into()).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

/// Asks again if no answer comes: for requests that may arrive twice, although the client does not know.
pub(super) async fn insist<T, F>(request: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let (mut attempt, started) = (1, Instant::now());
    loop {
        match request().await {
            Err(error) if attempt < ATTEMPTS && started.elapsed() < PATIENCE && explain::lost_answer(&error) => {
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn parts(version: &ObjectVersion) -> (&str, &str) {
    version.0.split_once(' ').unwrap_or_default()
}
