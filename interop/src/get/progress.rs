//! What a person sees of a running `get`: lines on standard output, and on a terminal a bar below.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// The bar; it counts bytes, and is not drawn unless standard error is a terminal.
const TEMPLATE: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}";

pub(super) struct Progress {
    bar: ProgressBar,
    responses: usize,
    done: AtomicUsize,
    failures: AtomicUsize,
}

impl Progress {
    pub(super) fn new(responses: usize) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        let bar = ProgressBar::new(0).with_style(style);
        let progress =
            Self { bar, responses, done: AtomicUsize::new(0), failures: AtomicUsize::new(0) };
        progress.count();
        progress
    }

    /// A response begins that announces its length, perhaps.
    pub(super) fn expect(&self, content_length: Option<&HeaderValue>) {
        let length = content_length.and_then(|value| value.to_str().ok()?.parse().ok());
        self.bar.inc_length(length.unwrap_or(0));
    }

    /// Bytes of a body arrived.
    pub(super) fn received(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// A response is complete; `line` says so on standard output.
    pub(super) fn done(&self, line: &str) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| {
            // Whoever closed the pipe does not want to know.
            let _ = writeln!(std::io::stdout(), "{line}");
        });
        self.count();
    }

    /// A response, or a connection with all of its responses, failed.
    pub(super) fn fail(&self, failure: &Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| eprintln!("interop: {failure}"));
    }

    /// Removes the bar. The status is a success if nothing failed.
    pub(super) fn finish(&self) -> ExitCode {
        self.bar.finish_and_clear();
        match self.failures.load(Ordering::Relaxed) {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    fn count(&self) {
        let done = self.done.load(Ordering::Relaxed);
        self.bar.set_message(format!("{done} of {}", self.responses));
    }
}
