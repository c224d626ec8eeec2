//! The static table of RFC 9204 Appendix A and the look-up in it.

/// What the table has for a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The entry at this index has the name and the value.
    Field(u64),
    /// The entry at this index has the name only.
    Name(u64),
    /// No entry has the name.
    Nothing,
}

/// The entry at `index`: name and value.
pub fn get(index: u64) -> Option<(&'static str, &'static str)> {
    ENTRIES.get(usize::try_from(index).ok()?).copied()
}

/// The best entry for a field: a binary search over the names, then the few values under one.
pub fn find(name: &[u8], value: &[u8]) -> Match {
    let first = BY_NAME.partition_point(|index| entry(*index).0.as_bytes() < name);
    let mut with_name = BY_NAME[first..].iter().take_while(|i| entry(**i).0.as_bytes() == name);
    let Some(lowest) = with_name.clone().next() else { return Match::Nothing };
    match with_name.find(|index| entry(**index).1.as_bytes() == value) {
        Some(index) => Match::Field(u64::from(*index)),
        None => Match::Name(u64::from(*lowest)),
    }
}

fn entry(index: u8) -> (&'static str, &'static str) {
    ENTRIES[usize::from(index)]
}

/// The indices of the table in the order of their names, lowest index first under one name.
static BY_NAME: [u8; ENTRIES.len()] = sort_by_name();

const fn sort_by_name() -> [u8; ENTRIES.len()] {
    let mut sorted = [0; ENTRIES.len()];
    let mut done = 0;
    while done < ENTRIES.len() {
        let name = ENTRIES[done].0.as_bytes();
        let mut at = done;
        while at > 0 && is_less(name, ENTRIES[sorted[at - 1] as usize].0.as_bytes()) {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        sorted[at] = done as u8;
        done += 1;
    }
    sorted
}

const fn is_less(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

#[rustfmt::skip]
const ENTRIES: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_published_one() {
        let table = include_str!("../../../tests/vectors/qpack/qpack_static_table.csv");
        let mut rows = 0;
        for (index, line) in table.lines().skip(1).enumerate() {
            let mut columns = line.splitn(3, ',');
            assert_eq!(columns.next().unwrap(), index.to_string());
            let name = columns.next().unwrap();
            let value = columns.next().unwrap().trim_matches('"');
            assert_eq!(get(index as u64), Some((name, value)));
            rows += 1;
        }
        assert_eq!(rows, 99);
        assert_eq!(get(99), None);
        assert_eq!(get(u64::MAX), None);
    }

    #[test]
    fn every_entry_is_found_and_strangers_are_not() {
        for (index, (name, value)) in ENTRIES.iter().enumerate() {
            assert_eq!(find(name.as_bytes(), value.as_bytes()), Match::Field(index as u64));
            let Match::Name(lowest) = find(name.as_bytes(), b"no such value") else {
                panic!("{name} was not found by its name")
            };
            assert_eq!(get(lowest).unwrap().0, *name);
            assert!(lowest <= index as u64);
        }
        assert_eq!(find(b"x-unknown", b""), Match::Nothing);
        assert_eq!(find(b"", b""), Match::Nothing);
        assert_eq!(find(b"\xff", b""), Match::Nothing);
    }
}
