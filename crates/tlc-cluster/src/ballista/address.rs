//! Where a cluster's scheduler listens: `df://host:port`, as DataFusion's programs write it.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::ClusterError;

const SCHEME: &str = "df://";
/// How long a scheduler may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address of a cluster's scheduler. A number of IPv6 stands in brackets, as in `df://[::1]:50050`.
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
    /// The address of a host's port. A number of IPv6 may stand in brackets.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self { host: bare.map_or_else(|| host.clone(), str::to_owned), port }
    }

    /// The host's name or number, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}:{}", in_address(&self.host), self.port)
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
        write!(f, "{SCHEME}{}:{}", in_address(&self.host), self.port)
    }
}

/// A host as it stands before a port: a number of IPv6 in brackets, since it has colons itself.
pub(super) fn in_address(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// What is wrong with a host, that may be a name or a number, of IPv6 in brackets.
pub(super) fn host_problem(host: &str) -> Option<&'static str> {
    if let Some(number) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let is_number = number.parse::<Ipv6Addr>().is_ok();
        return (!is_number).then_some("what stands in brackets is no number of IPv6");
    }
    if host.contains(':') {
        return Some("its host holds a colon; a number of IPv6 stands in brackets, as in df://[::1]:50050");
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (host.is_empty() || !host.chars().all(is_plain)).then_some("its host is no name")
}

impl FromStr for ClusterAddress {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        let refused = |reason| ClusterError::Address { text: text.to_owned(), reason };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| refused("it does not begin with df://"))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| refused("it names no port"))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| refused("its port is no number"))?;
        match host_problem(host) {
            None => Ok(Self::new(host, port)),
            Some(reason) => Err(refused(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_ipv6_stand_in_brackets() {
        let address: ClusterAddress = "df://[::1]:50050".parse().expect("an address");
        assert_eq!((address.host(), address.port()), ("::1", 50050));
        assert_eq!(address.to_string(), "df://[::1]:50050");
        assert_eq!(address.endpoint(), "http://[::1]:50050");
        for host in ["::1", "[::1]"] {
            assert_eq!(ClusterAddress::new(host, 50050), address);
        }
        let named: ClusterAddress = "df://head-node.local:50050".parse().expect("an address");
        assert_eq!((named.to_string().as_str(), named.host()), ("df://head-node.local:50050", "head-node.local"));
        for (text, expected) in [
            ("df://::1:50050", "stands in brackets"),
            ("df://a:b:50050", "stands in brackets"),
            ("df://[head]:50050", "no number of IPv6"),
            ("df://[::1:50050", "stands in brackets"),
            ("df://[::1]", "its port is no number"),
            ("df://:50050", "its host is no name"),
        ] {
            let error = text.parse::<ClusterAddress>().expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
