//! From the path of a URL to a path below the directory that is served.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// The relative path that the path of a URL names; `None` if it cannot be a file of ours.
///
/// The result has only plain names, so that joined to a directory it stays below it, symbolic links
/// apart.
pub(super) fn file_segments(url_path: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in url_path.split('/') {
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        match &*name {
            "" | "." => {}
            ".." => return None,
            // What could be a path in itself, on any system.
            _ if name.contains(['/', '\\', ':', '\0']) => return None,
            _ => path.push(&*name),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn names_become_a_relative_path() {
        let file = |path| file_segments(path).unwrap();
        assert_eq!(file("/"), Path::new(""));
        assert_eq!(file("/a/b.txt"), Path::new("a/b.txt"));
        assert_eq!(file("//a/./b/"), Path::new("a/b"));
        assert_eq!(file("/with%20space/%C3%A9"), Path::new("with space/é"));
        assert_eq!(file("/%252e%252e"), Path::new("%2e%2e"));
        assert_eq!(file("/..."), Path::new("..."));
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        for path in [
            "/..",
            "/a/../../b",
            "/%2e%2e/x",
            "/%2E./x",
            "/..%2fx",
            "/a%2f..%2f..%2fx",
            "/..%5cx",
            "/a\\..\\x",
            "/C:/x",
            "/a%00",
            "/%ff",
        ] {
            assert_eq!(file_segments(path), None, "{path}");
        }
        for path in ["/etc/passwd", "//etc/passwd", "*", "a/b"] {
            let file = file_segments(path).unwrap();
            assert!(file.components().all(|part| matches!(part, Component::Normal(_))), "{path}");
        }
    }
}
