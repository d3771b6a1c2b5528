//! The servers of these tests, on loopback: moto and SeaweedFS, which speak S3, and Azurite, which speaks Azure Blob. They
//! keep everything in memory, or SeaweedFS in a folder of its own, and are gone with the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tlc::core::{TableStore, Url, WriteCondition};
use tlc::table::LanceStore;

use super::generations;

/// Ends when its standard input does, which is when the test's process does, however that ends.
const MOTO: &str = "
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', sys.argv[1]])
";
/// Likewise.
const AZURITE: &str = "
process.stdin.on('end', () => process.exit(0)).resume();
const [folder, port] = process.argv.slice(1);
const options = ['--blobHost', '127.0.0.1', '--blobPort', port, '--inMemoryPersistence', '--disableTelemetry', '--silent'];
process.argv = [process.argv[0], 'azurite-blob', ...options, '--skipApiVersionCheck'];
require(folder + '/node_modules/azurite/dist/src/blob/main.js');
";
/// Likewise, and takes its server along, which is one process with all parts of SeaweedFS. Each part wants two ports of
/// its own, and a socket that it does not remove when it is killed; asked to end, it takes half a minute.
const WEED: &str = "
import glob, os, shutil, signal, socket, subprocess, sys, tempfile, threading
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
folder = tempfile.mkdtemp(prefix='tlc-seaweedfs-')
names = ['master.port', 'volume.port', 'filer.port']
names += [name + '.grpc' for name in names + ['s3.port']]
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in names]
ports = [it.getsockname()[1] for it in sockets]
for it in sockets: it.close()
options = {
    **dict(zip(names, ports)), 'dir': folder, 'ip': '127.0.0.1', 'ip.bind': '127.0.0.1',
    'master.peers': 'none', 'master.telemetry': 'false', 'master.volumeSizeLimitMB': 64, 'volume.max': 1000,
    'filer.localSocket': folder + '/filer.sock', 's3.localSocket': folder + '/s3.sock',
    's3': 'true', 's3.port': sys.argv[1], 's3.port.iceberg': 0, 's3.port.lance': 0,
}
weed = os.path.join(os.path.dirname(sys.executable), 'weed')
command = [weed, '-logdir=' + folder, 'server'] + [f'-{name}={value}' for name, value in options.items()]
server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.kill()), daemon=True).start()
try:
    server.wait()
finally:
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)
    # The folder is built into weed, which leaves them there when it is killed.
    for port in ports:
        for path in glob.glob(f'/tmp/seaweedfs-*-grpc-{port}.sock'):
            os.remove(path)
";

pub(crate) const SECRET: &str = "a-secret-that-no-message-repeats";
pub(crate) const KEY_ID: &str = "AKIATLCTESTS";

const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str = "dGhlIGtleSBvZiB0aGUgdGVzdHMgb2YgdGxjLCB3aGljaCBpcyBubyBzZWNyZXQ=";
/// Lets whoever has it do everything with containers and blobs. The signature is the HMAC-SHA256 by `ACCOUNT_KEY` of the
/// lines `ACCOUNT`, `sp`, `ss`, `srt`, an empty one, `se`, two empty ones, `sv` and an empty one.
pub(crate) const ACCOUNT_TOKEN: &str =
    "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2100-01-01T00:00:00Z&sig=kDBiTDoaovOhnMo1ImoJwICow9AhnTU%2BWGcybv8tyhM%3D";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// moto, which believes whoever signs.
    S3,
    /// SeaweedFS, which checks signatures, keeps folders whose objects are gone, and lets a writer wait for others of the
    /// same object.
    SeaweedFs,
    /// Azurite.
    Azure,
    /// moto again, behind what [`generations`] says.
    Gcs,
}

impl Server {
    /// Where the one server of this kind listens.
    pub(crate) fn address(self) -> SocketAddr {
        static S3: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        static SEAWEEDFS: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        static AZURE: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        static GCS: OnceLock<SocketAddr> = OnceLock::new();
        let start = || (0..3).find_map(|_| self.start()).expect("a server starts within half a minute");
        match self {
            Server::S3 => S3.get_or_init(start).0,
            Server::SeaweedFs => SEAWEEDFS.get_or_init(start).0,
            Server::Azure => AZURE.get_or_init(start).0,
            Server::Gcs => *GCS.get_or_init(|| generations::before(Server::S3.address())),
        }
    }

    fn command(self, port: u16) -> Command {
        let (program, mut command) = match self {
            Server::Azure => {
                let folder = cache().join("azure-server");
                let mut command = Command::new("node");
                command.args(["-e", AZURITE]).arg(&folder);
                command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"));
                (folder.join("node_modules/azurite/package.json"), command)
            }
            Server::S3 | Server::SeaweedFs | Server::Gcs => {
                let folder = cache().join("s3-server/bin");
                let is_moto = self != Server::SeaweedFs;
                let mut command = Command::new(folder.join("python"));
                command.args(["-c", if is_moto { MOTO } else { WEED }]);
                // Whom SeaweedFS lets in; moto does not care.
                command.envs([("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
                (folder.join(if is_moto { "python" } else { "weed" }), command)
            }
        };
        assert!(program.is_file(), "there is no {}; `cargo xtask test` installs it", program.display());
        command.arg(port.to_string());
        command
    }

    fn start(self) -> Option<(SocketAddr, Child)> {
        // The port may be taken by somebody else between here and the server's start: then another one is tried.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has a free port");
        let mut command = self.command(address.port());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the server's interpreter starts");
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
        // Its standard input ends, and so does it. One that was killed could not take along what it started.
        let _ = child.wait();
        None
    }

    /// Makes an empty bucket or container. Its URL.
    pub(crate) fn bucket(self, name: &str) -> Url {
        let (scheme, name, path) = match self {
            Server::SeaweedFs => return self.bucket_of_an_object(name),
            Server::S3 => ("s3", name.to_owned(), format!("/{name}")),
            Server::Azure => ("az", name.to_owned(), format!("/{ACCOUNT}/{name}?restype=container&{ACCOUNT_TOKEN}")),
            // It shares its server with the tests of S3.
            Server::Gcs => ("gs", format!("{name}-gcs"), format!("/{name}-gcs")),
        };
        let mut stream = TcpStream::connect(self.address()).expect("the server listens");
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close";
        stream.write_all(format!("PUT {path} {head}\r\n\r\n").as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        format!("{scheme}://{name}").parse().expect("a URL")
    }

    /// Where requests must be signed, a bucket is made by the first object that is written into it, which is then removed.
    fn bucket_of_an_object(self, name: &str) -> Url {
        let root: Url = format!("s3://{name}").parse().expect("a URL");
        let first = root.join("first").expect("a path");
        let object = first.join("object").expect("a path");
        self.store().write_object(&object, b"{}", WriteCondition::Absent).expect("writable");
        self.store().delete_folder(&first).expect("deletable");
        root
    }

    /// What leads to such a server at `address`.
    pub(crate) fn environment(self, address: SocketAddr) -> Vec<(String, String)> {
        let endpoint = format!("http://{address}");
        let account = format!("{endpoint}/{ACCOUNT}");
        // Who waits for another writer of an object looks again after a second; only proxies make answers late.
        let is_waited_for = self == Server::SeaweedFs && address == self.address();
        let timeout = if is_waited_for { "20s" } else { "1s" };
        let variables: &[(&str, &str)] = match self {
            Server::S3 | Server::SeaweedFs => &[
                ("AWS_ENDPOINT_URL", &endpoint),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_ACCESS_KEY_ID", KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", SECRET),
                ("AWS_REGION", "us-east-1"),
                ("AWS_TIMEOUT", timeout),
            ],
            Server::Azure => &[
                ("AZURE_STORAGE_ENDPOINT", &account),
                ("AZURE_ALLOW_HTTP", "true"),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
                ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
                ("AZURE_TIMEOUT", "1s"),
            ],
            Server::Gcs => &[
                ("GOOGLE_BASE_URL", &endpoint),
                ("GOOGLE_ALLOW_HTTP", "true"),
                ("GOOGLE_BEARER_TOKEN", SECRET),
                ("GOOGLE_TIMEOUT", "1s"),
            ],
        };
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A store without a memory of what was there before.
    pub(crate) fn store(self) -> LanceStore {
        self.store_at(self.address())
    }

    /// The same, by way of `address`.
    pub(crate) fn store_at(self, address: SocketAddr) -> LanceStore {
        LanceStore::with_environment(self.environment(address))
    }

    /// How many of `n` rounds are run: all on S3; elsewhere a quarter, which meets each kind of fault as well.
    pub(crate) fn rounds(self, n: u64) -> u64 {
        if self == Server::S3 { n } else { n.div_ceil(4) }
    }
}

/// Where `cargo xtask test` installs the servers.
fn cache() -> PathBuf {
    let set = std::env::var_os("TLC_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    set.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/tlc"))
}
