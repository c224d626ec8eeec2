//! Who listens to the connections of an endpoint.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use quic_core::config::{ClientConfig, ServerConfig, TransportConfig};
use quic_core::observe::{
    ConnectionInfo, Observer, ObserverFactory, QlogWriter, TraceInfo, TracingObserver,
};

/// What is wanted of each connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observing {
    pub(crate) qlog_dir: Option<PathBuf>,
    pub(crate) tracing: bool,
}

impl Observing {
    /// `config`, with observers added if any are wanted.
    pub(crate) fn client(&self, config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        match self.transport(config.transport()) {
            Some(transport) => Arc::new((**config).clone().with_transport(transport)),
            None => Arc::clone(config),
        }
    }

    /// `config`, with observers added if any are wanted.
    pub(crate) fn server(&self, config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
        match self.transport(config.transport()) {
            Some(transport) => Arc::new((**config).clone().with_transport(transport)),
            None => Arc::clone(config),
        }
    }

    fn transport(&self, config: &TransportConfig) -> Option<Arc<TransportConfig>> {
        if self.qlog_dir.is_none() && !self.tracing {
            return None;
        }
        let mut config = config.clone();
        if let Some(directory) = self.qlog_dir.clone() {
            let factory: ObserverFactory = Arc::new(move |info| qlog(&directory, info));
            config = config.with_observer(factory);
        }
        if self.tracing {
            let factory: ObserverFactory =
                Arc::new(|info| Some(Box::new(TracingObserver::new(info))));
            config = config.with_observer(factory);
        }
        Some(Arc::new(config))
    }
}

/// Writes the file of one connection; what is buffered reaches it when the connection is dropped.
fn qlog(directory: &Path, info: &ConnectionInfo) -> Option<Box<dyn Observer>> {
    let path = directory.join(format!("{}_{}.sqlog", info.original_dcid, info.side));
    match create(&path, info) {
        Ok(writer) => Some(Box::new(writer)),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "no qlog of a connection");
            None
        }
    }
}

fn create(path: &Path, info: &ConnectionInfo) -> io::Result<QlogWriter<BufWriter<File>>> {
    let writer = BufWriter::with_capacity(64 * 1024, File::create(path)?);
    Ok(QlogWriter::new(writer, Instant::now(), &TraceInfo::new(*info)))
}
