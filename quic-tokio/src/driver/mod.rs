//! The task that owns a socket and all its connections.

use std::sync::Arc;

use crate::builder::EndpointBuilder;
use crate::endpoint::EndpointShared;
use crate::udp::Udp;

/// Starts the driver of an endpoint on the current runtime.
pub(crate) fn spawn(_settings: EndpointBuilder, _udp: Udp, shared: Arc<EndpointShared>) {
    shared.on_driver_gone();
}
