//! What went wrong with an object store, in one short sentence without secrets.

use std::error::Error as StdError;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use tlc_core::{Scheme, Url};

/// The longest text of others that is passed on.
const LONGEST: usize = 200;
/// Hosts that are asked for a machine's role where no credentials are set.
const ROLE_HOSTS: [&str; 4] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal", "/metadata/identity/"];

/// The sentence, if an object store is what failed.
pub(crate) fn explain(url: &Url, cause: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    if let Some(error) = find::<Error>(cause) {
        return Some(sentence(url, error));
    }
    // Wrapped so that its type is lost: at least no answer of the server gets through.
    let text = cause.to_string();
    text.contains("<Error>").then(|| format!("the server answers {}", code_in(&text).unwrap_or("an error")))
}

/// What to set to be let in.
pub(super) fn how_to_sign(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Gs => "set GOOGLE_APPLICATION_CREDENTIALS",
        Scheme::Az => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        _ => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    }
}

/// What its provider calls a bucket.
pub(super) fn bucket(scheme: Scheme) -> &'static str {
    if scheme == Scheme::Az { "container" } else { "bucket" }
}

/// Whether it is the bucket that is not found.
pub(super) fn tells_of_missing_bucket(error: &Error) -> bool {
    matches!(code_in(&error.to_string()), Some("NoSuchBucket" | "ContainerNotFound"))
}

/// Whether the request may have been carried out although no answer came.
pub(super) fn lost_answer(error: &Error) -> bool {
    find::<HttpError>(error).is_some_and(|http| !matches!(http.kind(), HttpErrorKind::Connect))
}

fn sentence(url: &Url, error: &Error) -> String {
    let text = error.to_string();
    let scheme = url.scheme().unwrap_or(Scheme::S3);
    let code = code_in(&text).map(|code| format!(" ({code})")).unwrap_or_default();
    if tells_of_missing_bucket(error) {
        let name = url.authority().unwrap_or_default();
        return format!("there is no {} {name:?}; create it first", bucket(scheme));
    }
    if ROLE_HOSTS.iter().any(|host| text.contains(host)) {
        return format!("there are no credentials, and this machine has no role; {}", how_to_sign(scheme));
    }
    let status = text.split_once("status code: ").map(|(_, rest)| rest.split([':', '<', '\n']).next().unwrap_or(rest));
    if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        || status.is_some_and(|status| status.starts_with("401") || status.starts_with("403"))
    {
        return format!("access is refused{code}; are the credentials right? {} for it", how_to_sign(scheme));
    }
    if let Some(http) = find::<HttpError>(error) {
        let reason = cut(&root(http).to_string());
        return match http.kind() {
            HttpErrorKind::Connect => format!("the server cannot be reached: {reason}"),
            HttpErrorKind::Timeout => "the server did not answer in time".to_owned(),
            _ => format!("the connection broke: {reason}"),
        };
    }
    if let Some(status) = status {
        return format!("the server answers {}{code}", status.trim());
    }
    match code.is_empty() {
        true => cut(&root(error).to_string()),
        false => format!("the server answers an error{code}"),
    }
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}

/// The first `T` among an error and its causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    chain(error).last().unwrap_or(error)
}

/// `SlowDown` of `<Error><Code>SlowDown</Code>…`.
fn code_in(text: &str) -> Option<&str> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    (code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric())).then_some(code)
}

fn cut(text: &str) -> String {
    let text = text.split(['<', '\n']).next().unwrap_or_default().trim();
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: Error, expected: &str) {
        let url: Url = "s3://b/t.lance".parse().expect("a URL");
        assert_eq!(explain(&url, &error).as_deref(), Some(expected));
    }

    #[test]
    fn answers_are_told_in_short_and_without_what_they_repeat() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                    <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        check(
            Error::PermissionDenied { path: "t".into(), source: body.into() },
            "access is refused (SignatureDoesNotMatch); are the credentials right? set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY for it",
        );
        let body = "Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>";
        check(
            Error::Generic { store: "S3", source: body.into() },
            "the server answers 503 Service Unavailable (SlowDown)",
        );
        let body = "Server returned non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>";
        check(Error::NotFound { path: "t".into(), source: body.into() }, "there is no bucket \"b\"; create it first");
        let wrapped = "cannot commit: <Error><Code>ExpiredToken</Code><Token-0>FwoGZXIvYXdz</Token-0></Error>";
        let wrapped: Box<dyn StdError + Send + Sync> = wrapped.into();
        let url: Url = "s3://b/t.lance".parse().expect("a URL");
        assert_eq!(explain(&url, wrapped.as_ref()).as_deref(), Some("the server answers ExpiredToken"));
    }
}
