//! The server of the demonstration: makes bytes, and hashes what it is sent.

use bytes::Bytes;
use h3_lite::{BodyError, RecvBody};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Empty, Full};

use crate::content::{Hasher, Noise};

/// Noise is at this path followed by `/SEED/LENGTH`.
const NOISE_PATH: &str = "noise";
/// A body that is posted here is answered with its SHA-256.
pub(super) const HASH_PATH: &str = "/hash";

type Answer = Either<Noise, Either<Full<Bytes>, Empty<Bytes>>>;

/// The path of [`Noise`].
pub(super) fn noise_path(seed: u64, length: u64) -> String {
    format!("/{NOISE_PATH}/{seed}/{length}")
}

/// Answers one request.
///
/// # Errors
///
/// If the body of the request does not arrive completely.
pub(super) async fn respond(request: Request<RecvBody>) -> Result<Response<Answer>, BodyError> {
    let (method, path) = (request.method(), request.uri().path());
    if method == Method::POST && path == HASH_PATH {
        let sha256 = sha256(request.into_body()).await?;
        return Ok(Response::new(Either::Right(Either::Left(sha256.into()))));
    }
    if method == Method::GET
        && let Some(noise) = parse_noise(path)
    {
        return Ok(Response::new(Either::Left(noise)));
    }
    let mut response = Response::new(Either::Right(Either::Right(Empty::new())));
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

async fn sha256(mut body: RecvBody) -> Result<String, BodyError> {
    let mut hasher = Hasher::new();
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            hasher.update(&chunk);
        }
    }
    Ok(hasher.finish().to_string())
}

fn parse_noise(path: &str) -> Option<Noise> {
    let mut segments = path.strip_prefix('/')?.strip_prefix(NOISE_PATH)?.split('/').skip(1);
    let mut number = || segments.next()?.parse().ok();
    Some(Noise::new(number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_noise_is_understood() {
        let noise = parse_noise(&noise_path(7, 100)).unwrap();
        assert_eq!(noise.sha256(), Noise::new(7, 100).sha256());
        for path in ["/", "/noise", "/noise/1", "/noise/x/1", "noise/1/1"] {
            assert!(parse_noise(path).is_none(), "{path}");
        }
    }
}
