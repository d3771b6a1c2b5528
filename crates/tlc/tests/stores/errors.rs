//! What a user sees when an object store cannot be used: short, with the URL, without secrets, and soon.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tlc::core::{TableStore, WriteCondition};
use tlc::table::LanceStore;

use super::proxy::{Fate, Proxy};
use super::server::{ACCOUNT_KEY, KEY_ID, SECRET, Server};

/// What `tlc ls URL` prints to its standard error, with changes to the environment: a value, or none.
fn listing(url: &str, endpoint: SocketAddr, changes: &[(&str, Option<&str>)]) -> String {
    let server = if url.starts_with("az:") { Server::Azure } else { Server::S3 };
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlc"));
    command.args(["ls", url]).stdin(Stdio::null()).envs(server.environment(endpoint));
    for (name, value) in changes {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let started = Instant::now();
    let output = command.output().expect("the command runs");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?} is too long", started.elapsed());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!([SECRET, KEY_ID, ACCOUNT_KEY].iter().all(|secret| !text.contains(secret)), "{text}");
    text
}

#[test]
fn a_missing_bucket_is_named() {
    for server in [Server::S3, Server::SeaweedFs] {
        assert_eq!(
            listing("s3://nobody-made-this/p", server.address(), &[]),
            "error: cannot list s3://nobody-made-this/p/runs\n  because: there is no bucket \"nobody-made-this\"; create it first\n"
        );
    }
}

#[test]
fn a_bucket_whose_name_leads_elsewhere_is_refused() {
    let text = listing("s3://127.0.0.1:9/p", Server::S3.address(), &[]);
    assert!(text.starts_with("error: this store cannot serve s3://127.0.0.1:9/p/runs: the bucket"), "{text}");
}

#[test]
fn refused_credentials_are_said_to_be_refused() {
    let refusing = Proxy::before(Server::S3.address(), |_| Fate::Refused("403 Forbidden", "InvalidAccessKeyId"));
    assert_eq!(
        listing("s3://any/p", refusing.address, &[]),
        "error: cannot list s3://any/p/runs\n  because: access is refused (InvalidAccessKeyId); are the credentials right? set \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for it\n"
    );
    // SeaweedFS compares signatures.
    let text = listing("s3://any/p", Server::SeaweedFs.address(), &[("AWS_SECRET_ACCESS_KEY", Some("another"))]);
    assert!(text.contains("access is refused (SignatureDoesNotMatch); are the credentials right?"), "{text}");
    // moto lets nobody write who does not sign.
    let unsigned = Server::S3
        .environment(Server::S3.address())
        .into_iter()
        .chain([("AWS_SKIP_SIGNATURE".to_owned(), "true".to_owned())]);
    let object = Server::S3.bucket("private").join("p/run.json").expect("a path");
    let written = LanceStore::with_environment(unsigned).write_object(&object, b"{}", WriteCondition::Absent);
    let error = written.expect_err("refused");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.starts_with("access is refused"), "{error}: {cause}");
}

#[test]
fn missing_credentials_are_named() {
    let without = [("AWS_ACCESS_KEY_ID", None), ("AWS_SECRET_ACCESS_KEY", None)];
    let text = listing("s3://any/p", Server::S3.address(), &without);
    let expected = format!(
        "error: this store cannot serve s3://any/p/runs: there are no credentials for http://{}: set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket\n",
        Server::S3.address()
    );
    assert_eq!(text, expected);
    let half = listing("s3://any/p", Server::S3.address(), &[("AWS_SECRET_ACCESS_KEY", None)]);
    assert!(half.contains("s3://any/p"), "{half}");
}

#[test]
fn a_server_that_is_down_is_given_up_soon() {
    let down = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has a free port");
    let text = listing("s3://any/p", down, &[]);
    assert!(
        text.starts_with("error: cannot list s3://any/p/runs\n  because: the server cannot be reached: "),
        "{text}"
    );
    let busy = Proxy::before(Server::S3.address(), |_| Fate::Refused("503 Slow Down", "SlowDown"));
    assert_eq!(
        listing("s3://any/p", busy.address, &[]),
        "error: cannot list s3://any/p/runs\n  because: the server answers 503 Service Unavailable (SlowDown)\n"
    );
    let silent = Proxy::before(Server::S3.address(), |_| Fate::Silence);
    assert_eq!(
        listing("s3://any/p", silent.address, &[]),
        "error: cannot list s3://any/p/runs\n  because: the server did not answer in time\n"
    );
}

#[test]
fn an_endpoint_without_encryption_or_with_a_password_is_refused() {
    let text = listing("s3://any/p", Server::S3.address(), &[("AWS_ALLOW_HTTP", None)]);
    assert!(text.contains("which is not encrypted; set AWS_ALLOW_HTTP=true"), "{text}");
    let endpoint = format!("http://me:{SECRET}@127.0.0.1:9");
    let text = listing("s3://any/p", Server::S3.address(), &[("AWS_ENDPOINT_URL", Some(&endpoint))]);
    assert!(text.contains("AWS_ENDPOINT_URL holds a user or password"), "{text}");
    let text = listing(&format!("s3://me:{SECRET}@bucket/p"), Server::S3.address(), &[]);
    assert!(text.contains("credentials do not belong in a URL"), "{text}");
}

#[test]
fn a_missing_container_is_named() {
    assert_eq!(
        listing("az://nobody-made-this/p", Server::Azure.address(), &[]),
        "error: cannot list az://nobody-made-this/p/runs\n  because: there is no container \"nobody-made-this\"; create it \
         first\n"
    );
}

#[test]
fn a_wrong_or_missing_key_of_an_account_is_said_to_be_that() {
    let address = Server::Azure.address();
    let wrong = [("AZURE_STORAGE_ACCOUNT_KEY", Some("bm90IHRoZSBrZXk="))];
    assert_eq!(
        listing("az://any/p", address, &wrong),
        "error: cannot list az://any/p/runs\n  because: access is refused (AuthorizationFailure); are the credentials right? \
         set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY for it\n"
    );
    let expected = format!(
        "error: this store cannot serve az://any/p/runs: there are no credentials for http://{address}/devstoreaccount1: set \
         AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for a public container\n"
    );
    assert_eq!(listing("az://any/p", address, &[("AZURE_STORAGE_ACCOUNT_KEY", None)]), expected);
    let text = listing("az://any/p", address, &[("AZURE_STORAGE_ACCOUNT_NAME", None)]);
    assert!(text.contains("set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"), "{text}");
}

#[test]
fn an_endpoint_of_azure_is_checked_like_one_of_s3() {
    let address = Server::Azure.address();
    let text = listing("az://any/p", address, &[("AZURE_ALLOW_HTTP", None)]);
    assert!(text.contains("which is not encrypted; set AZURE_ALLOW_HTTP=true"), "{text}");
    let endpoint = format!("http://me:{SECRET}@127.0.0.1:9/devstoreaccount1");
    let text = listing("az://any/p", address, &[("AZURE_STORAGE_ENDPOINT", Some(&endpoint))]);
    assert!(text.contains("AZURE_STORAGE_ENDPOINT holds a user or password"), "{text}");
    // A slash at its end is of no account.
    let endpoint = format!("http://{address}/devstoreaccount1/");
    let text = listing("az://nobody-made-this/p", address, &[("AZURE_STORAGE_ENDPOINT", Some(&endpoint))]);
    assert!(text.contains("there is no container \"nobody-made-this\""), "{text}");
}
