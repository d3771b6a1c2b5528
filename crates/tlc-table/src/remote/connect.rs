//! Clients of object stores, from the environment.

use std::sync::Arc;

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
use object_store::{BackoffConfig, RetryConfig};
use tlc_core::Scheme;

use super::{Objects, endpoint};

/// Where endpoints and credentials are found.
#[derive(Clone)]
pub(crate) enum Environment {
    /// The process's environment.
    OfProcess,
    /// These instead.
    Given(Vec<(String, String)>),
}

impl Environment {
    /// Those that have a value.
    fn variables(&self) -> Vec<(String, String)> {
        let all = match self {
            Environment::OfProcess => std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            Environment::Given(variables) => variables.clone(),
        };
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.variables().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The server, if it is not the provider's own, and the variable that names it.
    pub(super) fn endpoint(&self, scheme: Scheme) -> Option<(&'static str, String)> {
        endpoint::variables(scheme).iter().find_map(|name| Some((*name, self.get(name)?)))
    }
}

/// A request is repeated after answers 5xx and 429 and broken connections: seven times within a minute, which an outage
/// of some seconds passes, and a wrong endpoint does not hang.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn retries() -> RetryConfig {
    use std::time::Duration;

    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(4),
            base: 2.0,
        },
        max_retries: 7,
        retry_timeout: Duration::from_secs(60),
    }
}

/// A client of the bucket or container `name`.
///
/// # Errors
/// What is missing or contradictory, without repeating a secret.
pub(super) fn connect(scheme: Scheme, name: &str, environment: &Environment) -> Result<Arc<dyn Objects>, String> {
    match scheme {
        #[cfg(feature = "s3")]
        Scheme::S3 => s3(name, environment),
        #[cfg(feature = "gcs")]
        Scheme::Gs => {
            let endpoint = endpoint::checked(scheme, environment)?;
            let mut builder = object_store::gcp::GoogleCloudStorageBuilder::new();
            for (variable, value) in environment.variables() {
                if let Some(key) = option(scheme, &variable, &["GOOGLE_", "SERVICE_ACCOUNT"]) {
                    builder = builder.with_config(key, value);
                }
            }
            if let Some(url) = endpoint {
                builder = builder.with_base_url(&url);
            }
            let built = builder.with_bucket_name(name).with_retry(retries()).build();
            Ok(Arc::new(built.map_err(|error| unusable(scheme, error))?))
        }
        #[cfg(feature = "azure")]
        Scheme::Az => {
            let endpoint = endpoint::checked(scheme, environment)?;
            let mut builder = object_store::azure::MicrosoftAzureBuilder::new();
            for (variable, value) in environment.variables() {
                if let Some(key) = option(scheme, &variable, &["AZURE_", "MSI_ENDPOINT", "IDENTITY_ENDPOINT"]) {
                    builder = builder.with_config(key, value);
                }
            }
            if let Some(url) = endpoint {
                builder = builder.with_endpoint(url);
            }
            let built = builder.with_container_name(name).with_retry(retries()).build();
            Ok(Arc::new(built.map_err(|error| unusable(scheme, error))?))
        }
        other => {
            let (other, _, _) = (other.as_str(), name, environment);
            Err(format!("this build does not serve {other}:// URLs; the features are s3, gcs and azure"))
        }
    }
}

/// The option that a variable sets. Endpoints are set apart: of several variables only the one that was looked at.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn option<K: std::str::FromStr>(scheme: Scheme, variable: &str, prefixes: &[&str]) -> Option<K> {
    let is_endpoint = endpoint::variables(scheme).contains(&variable);
    if is_endpoint || !prefixes.iter().any(|prefix| variable.starts_with(prefix)) {
        return None;
    }
    variable.to_ascii_lowercase().parse().ok()
}

/// Why the variables lead to no client, and which are needed.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn unusable(scheme: Scheme, error: object_store::Error) -> String {
    format!("{}; {}", text(error), super::explain::how_to_sign(scheme))
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn text(error: object_store::Error) -> String {
    match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

#[cfg(feature = "s3")]
fn s3(bucket: &str, environment: &Environment) -> Result<Arc<dyn Objects>, String> {
    use object_store::aws::AmazonS3Builder;

    let endpoint = endpoint::checked(Scheme::S3, environment)?;
    let mut builder = AmazonS3Builder::new();
    let mut client = object_store::ClientOptions::new();
    for (variable, value) in environment.variables() {
        let Some(key) = option(Scheme::S3, &variable, &["AWS_"]) else { continue };
        if let object_store::aws::AmazonS3ConfigKey::Client(key) = &key {
            client = client.with_config(*key, value.clone());
        }
        builder = builder.with_config(key, value);
    }
    let has_region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().any(|name| environment.get(name).is_some());
    if let Some(url) = endpoint {
        builder = builder.with_endpoint(url);
    } else if !has_region {
        let region = crate::runtime::wait(|| object_store::aws::resolve_bucket_region(bucket, &client))
            .map_err(|panic| panic.to_string())?
            .map_err(|error| format!("its region cannot be found ({}); set AWS_REGION", text(error)))?;
        builder = builder.with_region(region);
    }
    let built = builder.with_bucket_name(bucket).with_retry(retries()).build();
    Ok(Arc::new(built.map_err(|error| unusable(Scheme::S3, error))?))
}

#[cfg(all(test, feature = "s3", feature = "gcs", feature = "azure"))]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scheme: Scheme, variables: &[(&str, &str)], expected: Result<(), &str>) {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = connect(scheme, "a-bucket", &Environment::Given(owned)).map(|_| ());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn what_is_missing_is_named() {
        check(
            Scheme::S3,
            &[("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "x")],
            Err("Missing SecretAccessKey; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        );
        check(
            Scheme::Az,
            &[("AZURE_STORAGE_ACCOUNT_NAME", "")],
            Err("Account must be specified; set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
        );
    }

    #[test]
    fn each_kind_of_store_has_a_client() {
        let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y"), ("AWS_REGION", "eu-central-1")];
        check(Scheme::S3, &keys, Ok(()));
        check(Scheme::Gs, &[("GOOGLE_SKIP_SIGNATURE", "true")], Ok(()));
        check(Scheme::Az, &[("AZURE_STORAGE_ACCOUNT_NAME", "x"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")], Ok(()));
    }
}
