//! Tokens for later connections (NEW_TOKEN), between connections and those who make or keep them.

use std::time::Instant;

use super::Endpoint;
use super::connections::ConnectionHandle;

impl Endpoint {
    /// Makes the tokens that a server's connection wants to send, and keeps those that a client's
    /// has received.
    pub(super) fn exchange_tokens(&mut self, now: Instant, handle: ConnectionHandle) {
        let Some(entry) = self.connections.get_mut(handle) else { return };
        while let Some(token) = entry.connection.poll_token() {
            if let Some(sink) = &mut entry.tokens {
                sink.scope.version = entry.connection.version();
                sink.store.insert(&sink.scope, token);
            }
        }
        if entry.connection.take_token_request() {
            self.issue_tokens(now, handle);
        }
    }

    // req 9000-8.1.3-125, 9000-8.1.3-131
    fn issue_tokens(&mut self, now: Instant, handle: ConnectionHandle) {
        let Some(server) = &self.server else { return };
        let Some(entry) = self.connections.get_mut(handle) else { return };
        let config = server.address_validation();
        let (version, ip) = (entry.connection.version(), entry.connection.remote_address().ip());
        for _ in 0..config.new_tokens() {
            let token = self.tokens.for_later(now, config, version, ip, self.rng.array());
            entry.connection.give_token(token.into());
            self.stats.tokens_issued += 1;
        }
    }
}
