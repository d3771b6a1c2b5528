//! A proxy on loopback before a server, which does to requests what networks and busy servers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tlc::core::rng::Stream;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It is passed on, and so is the answer.
    Pass,
    /// It is passed on without this header.
    Without(String),
    /// It is answered with a status and the code of an error, and not passed on.
    Refused(&'static str, &'static str),
    /// The connection is closed before it is passed on.
    Lost,
    /// It is passed on, and the connection closed without its answer.
    AnswerLost,
    /// Half of the answer comes, and then the connection is closed.
    AnswerCut,
    /// Nothing comes for longer than the client waits; it is not passed on.
    Silence,
    /// It is passed on, and nothing comes for longer than the client waits.
    AnswerLate,
}

const FAULTS: [Fate; 8] = [
    Fate::Refused("500 Internal Server Error", "InternalError"),
    Fate::Refused("503 Slow Down", "SlowDown"),
    Fate::Refused("503 Service Unavailable", "ServiceUnavailable"),
    Fate::Lost,
    Fate::AnswerLost,
    Fate::AnswerCut,
    Fate::Silence,
    Fate::AnswerLate,
];
/// More than the time-out of the tests' clients.
const LATE: Duration = Duration::from_millis(1300);

/// Decides by the number of a request.
type Plan = dyn Fn(u64) -> Fate + Send + Sync;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    n_requests: Arc<AtomicU64>,
    n_faults: Arc<AtomicU64>,
}

impl Proxy {
    /// Before the server at `upstream`; it serves until the test's process ends.
    pub(crate) fn before(upstream: SocketAddr, plan: impl Fn(u64) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (n_requests, n_faults) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let plan: Arc<Plan> = Arc::new(plan);
        let (n_seen, n_hit) = (n_requests.clone(), n_faults.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (plan, n_requests, n_faults) = (plan.clone(), n_seen.clone(), n_hit.clone());
                std::thread::spawn(move || {
                    let number = n_requests.fetch_add(1, Ordering::Relaxed);
                    let fate = plan(number);
                    n_faults.fetch_add(u64::from(!matches!(fate, Fate::Pass)), Ordering::Relaxed);
                    // A client that went away is no concern of the proxy.
                    let _ = serve(client, upstream, fate);
                });
            }
        });
        Self { address, n_requests, n_faults }
    }

    /// With a fault in `share` of all requests, of a kind that `seed` decides.
    pub(crate) fn faulty(upstream: SocketAddr, seed: u64, share: f64) -> Self {
        let random = Stream::new(seed, "faults");
        Self::before(upstream, move |number| match random.uniform(number, 0) < share {
            true => FAULTS[(random.uniform(number, 1) * FAULTS.len() as f64) as usize].clone(),
            false => Fate::Pass,
        })
    }

    /// As if the client were killed before its request with the number that `first` then holds, but it lives and sees that
    /// nothing works.
    pub(crate) fn cut_at(upstream: SocketAddr, first: Arc<AtomicU64>) -> Self {
        Self::before(upstream, move |request| match request < first.load(Ordering::Relaxed) {
            true => Fate::Pass,
            // A refusal that is not worth another attempt.
            false => Fate::Refused("400 Bad Request", "Cut"),
        })
    }

    pub(crate) fn n_requests(&self) -> u64 {
        self.n_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn n_faults(&self) -> u64 {
        self.n_faults.load(Ordering::Relaxed)
    }
}

/// One request of one connection, which is then closed.
fn serve(mut client: TcpStream, upstream: SocketAddr, fate: Fate) -> std::io::Result<()> {
    let Some(mut request) = Request::read(&client)? else { return Ok(()) };
    match fate {
        Fate::Lost => return Ok(()),
        Fate::Silence => {
            std::thread::sleep(LATE);
            return Ok(());
        }
        Fate::Refused(status, code) => {
            let body = format!("<Error><Code>{code}</Code><Message>made up</Message></Error>");
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            return client.write_all((head + &body).as_bytes());
        }
        Fate::Without(ref header) => request.head.retain(|line| name_in(line) != *header),
        _ => {}
    }
    let answer = request.ask(upstream)?;
    match fate {
        Fate::AnswerLost => Ok(()),
        Fate::AnswerLate => {
            std::thread::sleep(LATE);
            Ok(())
        }
        Fate::AnswerCut => client.write_all(&answer[..answer.len() / 2]),
        _ => client.write_all(&answer),
    }
}

/// A request, without its wish for the connection.
pub(crate) struct Request {
    /// Lines with their ends, without the empty one.
    pub(crate) head: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    /// `None` if the client goes away instead.
    pub(crate) fn read(client: &TcpStream) -> std::io::Result<Option<Self>> {
        let mut reader = BufReader::new(client.try_clone()?);
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line == "\r\n" {
                break;
            }
            let name = name_in(&line);
            if name == "content-length" {
                length = line[name.len() + 1..].trim().parse().unwrap_or(0);
            }
            if name != "connection" {
                head.push(line);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Some(Self { head, body }))
    }

    /// The answer of the server at `upstream`, to its last byte.
    pub(crate) fn ask(&self, upstream: SocketAddr) -> std::io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(upstream)?;
        server.write_all(format!("{}Connection: close\r\n\r\n", self.head.concat()).as_bytes())?;
        server.write_all(&self.body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// The name of a header, in small letters.
fn name_in(line: &str) -> String {
    line.split(':').next().unwrap_or_default().to_ascii_lowercase()
}
