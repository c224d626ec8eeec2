//! Who listens to the connections of an endpoint.

use std::path::PathBuf;

/// What is wanted of each connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observing {
    pub(crate) qlog_dir: Option<PathBuf>,
    pub(crate) tracing: bool,
}
