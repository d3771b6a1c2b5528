//! The page and the data it asks for, served by this process alone: nothing comes from elsewhere, nothing goes there.
//!
//! Loopback by default. Another address needs a token, which is part of every URL then. The contract with the page is
//! `web/API.md`.

mod api;
mod assets;
mod encode;
mod errors;
mod manifest;
mod numbers;
mod pictures;
mod scenes;
mod security;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tlc_core::ulid::Ulid;
use tlc_core::{Progress, TableStore, Url};
use tlc_run::Project;

use self::scenes::Scenes;
use crate::ViewError;

/// What is served.
#[derive(Debug, Clone)]
pub enum Source {
    /// The runs of a project, first the one of this name.
    Project {
        /// The project.
        project: Project,
        /// The run that is shown first.
        run: String,
    },
    /// One table.
    Table {
        /// Where it is kept.
        store: Arc<dyn TableStore>,
        /// Its place.
        url: Url,
    },
}

/// Makes a revision of a table with some of its rows, and returns where it is: what the page's "save" does. The server
/// itself only reads.
pub type MakeRevision = dyn Fn(&Url, &[u64], &str) -> Result<Url, String> + Send + Sync;

/// How it is served.
#[derive(Clone)]
pub struct ServeOptions {
    /// The address to listen at. Default 127.0.0.1. Any other but a loopback address makes a token part of the URL.
    pub host: IpAddr,
    /// The port; 0 for any that is free. Default 0.
    pub port: u16,
    /// What saves a selection. Default none: the page says that it cannot.
    pub make_revision: Option<Arc<MakeRevision>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 0, make_revision: None }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// A server that listens, and answers once it runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

struct State {
    scenes: Scenes,
    token: Option<String>,
    make_revision: Option<Arc<MakeRevision>>,
    /// The port, for checking whom requests are meant for.
    port: u16,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// [`ViewError::Listen`]: an address that is not this machine's, a port in use.
    pub fn bind(source: Source, options: &ServeOptions) -> Result<Self, ViewError> {
        let wanted = SocketAddr::new(options.host, options.port);
        let failed = |source| ViewError::Listen { address: wanted, source };
        let listener = TcpListener::bind(wanted).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let token = (!options.host.is_loopback()).then(|| Ulid::generate().to_string().to_lowercase());
        let state = State {
            scenes: Scenes::new(source),
            token,
            make_revision: options.make_revision.clone(),
            port: address.port(),
        };
        Ok(Self { listener, address, state: Arc::new(state) })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        match &self.state.token {
            None => format!("http://{}/", self.address),
            Some(token) => format!("http://{}/{token}/", self.address),
        }
    }

    /// Answers until `stop` is cancelled.
    ///
    /// # Errors
    /// A system without threads or sockets.
    pub fn run(self, stop: &Progress) -> Result<(), ViewError> {
        let address = self.address;
        let failed = |source| ViewError::Listen { address, source };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed)?;
        let router = router(self.state);
        let stop = stop.clone();
        runtime
            .block_on(async move {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                let stopped = async move {
                    while stop.check().is_ok() {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                };
                // Open connections of a browser are not waited for.
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served,
                    () = stopped => Ok(()),
                }
            })
            .map_err(failed)
    }
}

fn router(state: Arc<State>) -> Router {
    let pages = Router::new()
        .route("/", get(assets::index))
        .route("/app.js", get(assets::script))
        .route("/app.css", get(assets::style))
        .route("/api/manifest", get(api::manifest))
        .route("/api/coords", get(api::coords))
        .route("/api/column", get(api::column))
        .route("/api/ids", get(api::ids))
        .route("/api/thumb/{dataset}/{example_id}", get(api::thumb))
        .route("/api/sample/{dataset}/{example_id}", get(api::sample))
        .route("/api/knn", post(api::knn))
        .route("/api/find/{finder}", get(api::find))
        .route("/api/numbers", get(api::numbers))
        .route("/api/export", post(api::export))
        .route("/api/revision", post(api::revision))
        .fallback(errors::no_such_place);
    let pages = match &state.token {
        None => pages,
        Some(token) => Router::new().nest(&format!("/{token}"), pages).fallback(errors::no_such_place),
    };
    pages.layer(from_fn_with_state(state.clone(), security::guard)).with_state(state)
}

#[cfg(test)]
mod tests;
