//! The wish that a server ends.

use std::sync::Arc;

use tokio::sync::watch;

/// Shuts servers and connections down in an orderly way. Clones ask for the same thing.
#[derive(Debug, Clone)]
pub struct Shutdown {
    asked: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Not asked for yet.
    pub fn new() -> Self {
        Self { asked: Arc::new(watch::Sender::new(false)) }
    }

    /// Asks for it. Returns at once: the end is when the future of the server is ready.
    pub fn start(&self) {
        self.asked.send_replace(true);
    }

    /// Waits until it is asked for.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn asked(&self) {
        // The sender lives in `self`, so there is no error.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }
}
