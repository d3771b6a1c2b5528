//! Where a cluster's scheduler listens: `df://host:port`, as DataFusion's programs write it.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::ClusterError;

const SCHEME: &str = "df://";
/// How long a scheduler may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of a cluster's scheduler.
///
/// ```
/// let address: tlc_cluster::ClusterAddress = "df://127.0.0.1:50050".parse()?;
/// assert_eq!(address.port(), 50050);
/// assert!("http://127.0.0.1:50050".parse::<tlc_cluster::ClusterAddress>().is_err());
/// # Ok::<(), tlc_cluster::ClusterError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAddress {
    host: String,
    port: u16,
}

impl ClusterAddress {
    /// The address of a host's port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host's name or number.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// Whether anybody listens there.
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        let try_all = || {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
            for socket in (self.host.as_str(), self.port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&socket, PATIENCE) {
                    Ok(_) => return Ok(()),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        };
        try_all().map_err(|source| ClusterError::Unreachable { address: self.to_string(), source })
    }
}

impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:{}", self.host, self.port)
    }
}

impl FromStr for ClusterAddress {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        let refused = |reason| ClusterError::Address { text: text.to_owned(), reason };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refused("it does not begin with df://"))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| refused("it names no port"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| refused("its port is no number"))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        match !host.is_empty() && host.chars().all(is_plain) {
            true => Ok(Self::new(host, port)),
            false => Err(refused("its host is no name")),
        }
    }
}
