//! Servers other than the provider's own: those of others that speak its protocol, and emulators.

use tlc_core::Scheme;

use super::connect::Environment;

/// The variables that name a server; the first that is set counts.
pub(super) fn variables(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
        Scheme::Gs => &["GOOGLE_BASE_URL"],
        Scheme::Az => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        _ => &[],
    }
}

/// Whether the server may list a folder whose objects were all deleted: where a folder is a thing of its own, as in
/// SeaweedFS and in an Azure account with a hierarchical namespace. Amazon's and Google's make folders up from keys, so
/// nobody needs to pay there for looking into each.
pub(super) fn may_list_empty_folders(scheme: Scheme, environment: &Environment) -> bool {
    match scheme {
        Scheme::S3 => environment.endpoint(scheme).is_some_and(|(_, url)| !url.contains("amazonaws.com")),
        Scheme::Az => true,
        _ => false,
    }
}

/// The server's URL without a slash at its end, if one is named.
///
/// # Errors
/// Why it is not used: it holds credentials, is not encrypted although nobody allowed that, or none of its credentials
/// is set.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
pub(super) fn checked(scheme: Scheme, environment: &Environment) -> Result<Option<String>, String> {
    let Some((name, url)) = environment.endpoint(scheme) else { return Ok(None) };
    let how_to_sign = super::explain::how_to_sign(scheme);
    let authority = url.split("://").nth(1).unwrap_or(&url).split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(format!("{name} holds a user or password; {how_to_sign} instead"));
    }
    let prefix = prefix(scheme);
    let is_encrypted = !url.starts_with("http://");
    let is_allowed = environment.get(&format!("{prefix}_ALLOW_HTTP")).is_some_and(|it| is_true(&it));
    if !is_encrypted && !is_allowed {
        return Err(format!(
            "{name} is {url}, which is not encrypted; set {prefix}_ALLOW_HTTP=true to use it all the same"
        ));
    }
    // There no machine has a role to ask for, unless the server is Microsoft's or Google's under another name.
    let has_no_roles = scheme == Scheme::S3 || !is_encrypted;
    if has_no_roles && !credentials(scheme).iter().any(|name| environment.get(name).is_some()) {
        let kind = super::explain::bucket(scheme);
        return Err(format!(
            "there are no credentials for {url}: {how_to_sign}, or {prefix}_SKIP_SIGNATURE=true for a public {kind}"
        ));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn prefix(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Gs => "GOOGLE",
        Scheme::Az => "AZURE",
        _ => "AWS",
    }
}

/// Variables of which one at least is set where requests can be signed, or need not be.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn credentials(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::Gs => &[
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "SERVICE_ACCOUNT",
            "GOOGLE_BEARER_TOKEN",
            "GOOGLE_SKIP_SIGNATURE",
        ],
        Scheme::Az => &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_CLIENT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_USE_AZURE_CLI",
            "AZURE_SKIP_SIGNATURE",
        ],
        _ => &[
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_METADATA_ENDPOINT",
            "AWS_SKIP_SIGNATURE",
        ],
    }
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scheme: Scheme, endpoint: Option<&str>, expected: bool) {
        let name = variables(scheme)[0].to_owned();
        let variables = endpoint.map(|url| (name, url.to_owned())).into_iter().collect();
        assert_eq!(may_list_empty_folders(scheme, &Environment::Given(variables)), expected, "{scheme:?} {endpoint:?}");
    }

    #[test]
    fn only_some_servers_may_list_empty_folders() {
        check(Scheme::S3, None, false);
        check(Scheme::S3, Some("https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com"), false);
        check(Scheme::S3, Some("http://127.0.0.1:8333"), true);
        check(Scheme::Az, None, true);
        check(Scheme::Gs, None, false);
    }
}
