//! Plain async functions as services.

use std::future::Future;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::body::RecvBody;

/// See [`service_fn`].
#[derive(Debug, Clone, Copy)]
pub struct ServiceFn<F>(F);

/// Makes a service of an async function from a request to a response.
///
/// A function that can fail resets the request with `H3_INTERNAL_ERROR` if it does; one that always
/// has a response gives it as `Ok::<_, std::convert::Infallible>(response)`.
pub fn service_fn<F>(function: F) -> ServiceFn<F> {
    ServiceFn(function)
}

impl<F, T, B, E> Service<Request<RecvBody>> for ServiceFn<F>
where
    F: FnMut(Request<RecvBody>) -> T,
    T: Future<Output = Result<Response<B>, E>>,
{
    type Response = Response<B>;
    type Error = E;
    type Future = T;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RecvBody>) -> T {
        (self.0)(request)
    }
}
