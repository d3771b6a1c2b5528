//! The page and the data it asks for, served by this process alone: nothing comes from elsewhere, nothing goes there.
//!
//! Loopback by default. Another address needs a token, which is part of every URL then. The contract with the page is
//! `web/API.md`.

mod api;
pub(crate) mod assets;
mod blocking;
pub(crate) mod encode;
mod errors;
mod extract;
mod jobs;
mod kept;
pub(crate) mod manifest;
pub(crate) mod numbers;
pub(crate) mod quality;
pub(crate) mod ranges;
mod reduce;
mod scenes;
mod security;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};
use tlc_core::ulid::Ulid;
use tlc_core::{Progress, ProgressSink, UniqueName, Url};
use tlc_run::Project;
use tokio::sync::Semaphore;

use self::jobs::Jobs;
use self::scenes::Scenes;
use crate::{Scene, ViewError};

/// What is served.
#[derive(Clone)]
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
        /// The project that it is in.
        project: Project,
        /// Its place.
        url: Url,
    },
    /// A table that is made while the page shows how far it is, such as one of a file that is read and reduced.
    Made {
        /// What it will show.
        title: String,
        /// What makes it, once, when the server runs.
        make: Arc<MakeTable>,
    },
}

/// Makes a table that is to be shown; fails with what the page tells.
pub type MakeTable =
    dyn Fn(&Progress) -> Result<(Project, Url), Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

impl Source {
    /// The scene of what is named, which is made first where it must be. All who look at it open it so, and see what the
    /// page shows.
    ///
    /// # Errors
    /// A run or table that cannot be read; why it cannot be made; cancellation.
    pub fn open(&self, progress: &Progress) -> Result<Scene, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Made { make, .. } => {
                let (project, url) = make(progress)?;
                Ok(Self::Table { project, url }.scene()?)
            }
            Self::Project { .. } | Self::Table { .. } => Ok(self.scene()?),
        }
    }

    /// The scene of what is there already.
    fn scene(&self) -> Result<Scene, ViewError> {
        match self {
            Self::Project { project, run } => Scene::of_run(project, &project.open_run(run)?),
            Self::Table { project, url } => Scene::of_table_with_reductions(project, url),
            Self::Made { title, .. } => Err(ViewError::NotReady { title: title.clone() }),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Project { run, .. } => run.clone(),
            Self::Table { url, .. } => UniqueName::stem_of(url.file_name()).to_owned(),
            Self::Made { title, .. } => title.clone(),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.title()).finish()
    }
}

/// Makes a revision of a table with the rows of these numbers and this description, and returns where it is: what the
/// page's "save" does.
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
    /// Who is told of progress besides the page, such as a terminal. Default none.
    pub progress_sink: Option<Arc<dyn ProgressSink>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 0, make_revision: None, progress_sink: None }
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

/// Bytes of a request that names samples one by one: some millions of them.
const LARGE: usize = 64 << 20;

/// How long answers under way may take to stop.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

struct State {
    scenes: Scenes,
    jobs: Jobs,
    token: Option<String>,
    make_revision: Option<Arc<MakeRevision>>,
    /// Turns of answers that take long.
    long_answers: Arc<Semaphore>,
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
            jobs: Jobs::new(options.progress_sink.clone()),
            token,
            make_revision: options.make_revision.clone(),
            long_answers: Arc::new(Semaphore::new(blocking::LONG_AT_ONCE)),
        };
        Ok(Self { listener, address, state: Arc::new(state) })
    }

    /// Where the page is, as others can open it: where it listens at all addresses, by this machine's name.
    pub fn url(&self) -> String {
        let name = self.address.ip().is_unspecified().then(host_name).flatten();
        let place = match name {
            Some(name) => format!("{name}:{}", self.address.port()),
            None => self.address.to_string(),
        };
        match &self.state.token {
            None => format!("http://{place}/"),
            Some(token) => format!("http://{place}/{token}/"),
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
        self.state.begin_making();
        let state = self.state.clone();
        // While the browser fetches the page, which then says what is wrong if something is.
        let opening = state.clone();
        runtime.spawn_blocking(move || opening.scenes.get(None).map(drop));
        let router = router(self.state);
        let stop = stop.clone();
        let served = runtime
            .block_on(async move {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                let stopped = async move {
                    while stop.check().is_ok() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                };
                // Open connections of a browser are not waited for.
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served,
                    () = stopped => Ok(()),
                }
            })
            .map_err(failed);
        state.jobs.end();
        // Answers that nobody waits for any more stop themselves; one that does not is left behind.
        runtime.shutdown_timeout(LEFT_BEHIND);
        served
    }
}

/// This machine's name, where the system tells it in a way that needs no library: Linux by a file, Windows and some shells
/// by a variable.
fn host_name() -> Option<String> {
    let of_file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let of_variable = || ["COMPUTERNAME", "HOSTNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let name = of_file.or_else(of_variable)?;
    let name = name.trim();
    let is_usable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (!name.is_empty() && is_usable).then(|| name.to_owned())
}

impl State {
    /// Begins to make what is shown, if it must be made first.
    fn begin_making(self: &Arc<Self>) {
        let Source::Made { title, make } = self.scenes.source().clone() else { return };
        let state = self.clone();
        // Nothing else is under way yet.
        let begun = self.jobs.begin(format!("Reading {title}"), move |progress| {
            let (project, url) = make(progress)?;
            state.scenes.show_table(project, url);
            Ok(())
        });
        if let Err(refused) = begun {
            tracing::error!(error = refused.error, "nothing can be made");
        }
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
        .route("/api/ranges", get(api::ranges))
        .route("/api/thumb/{dataset}/{example_id}", get(api::thumb))
        .route("/api/sample/{dataset}/{example_id}", get(api::sample))
        .route("/api/knn", post(api::knn))
        .route("/api/find/{finder}", get(api::find))
        .route("/api/numbers", get(api::numbers))
        .route("/api/export", post(api::export).layer(DefaultBodyLimit::max(LARGE)))
        .route("/api/revision", post(api::revision).layer(DefaultBodyLimit::max(LARGE)))
        .route("/api/quality", get(api::quality))
        .route("/api/reduce", post(api::reduce))
        .route("/api/job", get(api::job))
        .route("/api/job/cancel", post(api::cancel))
        .method_not_allowed_fallback(errors::no_such_method);
    let pages = match &state.token {
        None => pages,
        // With the slash at the end: what the page names is relative to it.
        Some(token) => {
            let folder = format!("/{token}/");
            let moved = Redirect::permanent(&folder);
            Router::new().nest(&folder, pages).route(&format!("/{token}"), get(move || async { moved }))
        }
    };
    let pages = pages.fallback(errors::no_such_place);
    pages.layer(from_fn_with_state(state.clone(), security::guard)).with_state(state)
}

#[cfg(test)]
mod tests;
