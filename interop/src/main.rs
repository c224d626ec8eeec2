//! The command line program: serve files, fetch URLs, and show the whole stack at work.

#![forbid(unsafe_code)]
fn main() {}
