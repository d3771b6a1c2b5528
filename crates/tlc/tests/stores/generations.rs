//! Something that answers like Google Cloud Storage: moto, with its ETags for generations.
//!
//! No server that speaks Google's XML protocol with conditions can be installed from a package registry. That protocol
//! is S3's under other names, so headers are renamed here on both ways. This shows that what is written for generations
//! runs and goes with its client library, and nothing about Google's own server.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::proxy::Request;

/// moto wants writers to sign, and looks no further.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/s3/aws4_request\r\n";

/// Stands before the S3 server at `upstream` until the test's process ends.
pub(crate) fn before(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A client that went away is no concern of this.
                let _ = serve(client, upstream);
            });
        }
    });
    address
}

fn serve(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let Some(mut request) = Request::read(&client)? else { return Ok(()) };
    request.head = request.head.iter().map(|line| to_s3(line)).collect();
    let answer = request.ask(upstream)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.len());
    let head: Vec<String> = String::from_utf8_lossy(&answer[..end]).split("\r\n").map(from_s3).collect();
    client.write_all(head.join("\r\n").as_bytes())?;
    client.write_all(&answer[end..])
}

/// A line of a request's head.
fn to_s3(line: &str) -> String {
    match line.split_once(": ") {
        Some(("x-goog-if-generation-match", "0\r\n")) => "If-None-Match: *\r\n".to_owned(),
        Some(("x-goog-if-generation-match", generation)) => format!("If-Match: \"{}\"\r\n", generation.trim()),
        Some((name, value)) if name.starts_with("x-goog-") => format!("{}: {value}", name.replace("goog", "amz")),
        Some(("authorization", _)) => SIGNED.to_owned(),
        Some(_) => line.to_owned(),
        // Google's client encodes more of a path than moto reads.
        None => line.replace("%2D", "-").replace("%2E", ".").replace("%2F", "/").replace("%5F", "_"),
    }
}

/// A line of an answer's head.
fn from_s3(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, tag)) if name.eq_ignore_ascii_case("etag") => {
            format!("{line}\r\nx-goog-generation: {}", tag.trim_matches('"'))
        }
        Some((name, value)) if name.starts_with("x-amz-") => format!("{}: {value}", name.replace("amz", "goog")),
        _ => line.to_owned(),
    }
}
