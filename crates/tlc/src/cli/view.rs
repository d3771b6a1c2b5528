//! `tlc view`: the page that shows embeddings move.

use std::net::IpAddr;
use std::sync::Arc;

use clap::Args;
use tlc::core::Progress;
use tlc::table::LanceStore;
use tlc::view::server::{ServeOptions, Server, Source};

use super::bars::Screen;
use super::scene::{self, WhatArgs};

/// What is shown, and where it is served.
#[derive(Args)]
pub(crate) struct ViewArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The address to listen at; any but a loopback address gets a secret in its URL
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 is any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: &ViewArgs, screen: &Screen, progress: &Progress) -> anyhow::Result<()> {
    serve(scene::source(&args.what)?, args.host, args.port, args.open, screen, progress)
}

/// Serves until ctrl-C.
pub(crate) fn serve(
    source: Source,
    host: IpAddr,
    port: u16,
    open: bool,
    screen: &Screen,
    progress: &Progress,
) -> anyhow::Result<()> {
    let options = ServeOptions {
        host,
        port,
        make_revision: Some(tlc::make_revision(Arc::new(LanceStore::default()))),
        progress_sink: Some(Arc::new(screen.clone())),
    };
    let server = Server::bind(source, &options)?;
    let url = server.url();
    screen.line(&url);
    eprintln!("press ctrl-C to stop");
    if open && let Err(error) = webbrowser::open(&url) {
        eprintln!("warning: no browser could be started ({error}); open the address yourself");
    }
    server.run(progress)?;
    Ok(())
}
