//! moto, a server that speaks S3, on loopback. It keeps everything in memory and is gone with the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tlc::core::Url;
use tlc::table::LanceStore;

/// Ends when its standard input does, which is when the test's process does, however that ends.
const SCRIPT: &str = "
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', sys.argv[1]])
";
pub(crate) const SECRET: &str = "a-secret-that-no-message-repeats";
pub(crate) const KEY_ID: &str = "AKIATLCTESTS";

/// The one server of these tests.
pub(crate) fn address() -> SocketAddr {
    static SERVER: OnceLock<(SocketAddr, Child)> = OnceLock::new();
    SERVER.get_or_init(|| (0..3).find_map(|_| start()).expect("moto starts within half a minute")).0
}

/// The interpreter that `cargo xtask test` prepares.
fn python() -> PathBuf {
    let set = std::env::var_os("TLC_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/tlc");
    let python = set.unwrap_or_else(home).join("s3-server/bin/python");
    assert!(python.is_file(), "there is no {}; `cargo xtask test` installs it", python.display());
    python
}

fn start() -> Option<(SocketAddr, Child)> {
    // The port may be taken by somebody else between here and the server's start: then another one is tried.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has a free port");
    let mut command = Command::new(python());
    command.args(["-c", SCRIPT, &address.port().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("Python starts");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if child.try_wait().expect("a child of ours").is_some() {
            break;
        }
        if TcpStream::connect(address).is_ok() {
            return Some((address, child));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Makes an empty bucket. Its URL.
pub(crate) fn bucket(name: &str) -> Url {
    let mut stream = TcpStream::connect(address()).expect("moto listens");
    let request = format!("PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("moto reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("moto answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    format!("s3://{name}").parse().expect("a URL")
}

/// What leads to the server at `address`.
pub(crate) fn environment(address: SocketAddr) -> Vec<(String, String)> {
    let endpoint = format!("http://{address}");
    [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
        ("AWS_TIMEOUT", "1s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A store without a memory of what was there before.
pub(crate) fn store_at(address: SocketAddr) -> LanceStore {
    LanceStore::with_environment(environment(address))
}
