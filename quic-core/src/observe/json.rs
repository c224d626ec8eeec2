//! Writing JSON, one value after the other, into a string.
//!
//! Objects and lists close themselves when they are dropped.

use std::fmt::Write;
use std::time::Duration;

/// Hexadecimal digits of some bytes.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An object that is being written.
pub(super) struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        write_text(self.out, key);
        self.out.push(':');
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_text(self.out, value);
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        write_display(self.out, value);
    }

    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        write_display(self.out, value);
    }

    pub(super) fn hex(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push('"');
        write_display(self.out, Hex(value));
        self.out.push('"');
    }

    /// Milliseconds, down to nanoseconds.
    pub(super) fn millis(&mut self, key: &str, value: Duration) {
        self.key(key);
        let nanos = value.as_nanos();
        let (whole, fraction) = (nanos / 1_000_000, nanos % 1_000_000);
        write_display(self.out, format_args!("{whole}.{fraction:06}"));
    }

    pub(super) fn object(&mut self, key: &str) -> Object<'_> {
        self.key(key);
        Object::new(self.out)
    }

    pub(super) fn list(&mut self, key: &str) -> List<'_> {
        self.key(key);
        List::new(self.out)
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push('}');
    }
}

/// A list that is being written.
pub(super) struct List<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> List<'a> {
    fn new(out: &'a mut String) -> Self {
        out.push('[');
        Self { out, is_empty: true }
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
    }

    pub(super) fn number(&mut self, value: u64) {
        self.separate();
        write_display(self.out, value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.separate();
        write_text(self.out, value);
    }

    pub(super) fn hex(&mut self, value: &[u8]) {
        self.separate();
        self.out.push('"');
        write_display(self.out, Hex(value));
        self.out.push('"');
    }

    pub(super) fn object(&mut self) -> Object<'_> {
        self.separate();
        Object::new(self.out)
    }

    pub(super) fn list(&mut self) -> List<'_> {
        self.separate();
        List::new(self.out)
    }
}

impl Drop for List<'_> {
    fn drop(&mut self) {
        self.out.push(']');
    }
}

fn write_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _ = write!(out, "{value}");
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // The record separator of JSON-SEQ is among these.
            '\0'..='\x1f' | '\x7f' => write_display(out, format_args!("\\u{:04x}", char as u32)),
            _ => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(write: impl FnOnce(&mut Object<'_>)) -> serde_json::Value {
        let mut out = String::new();
        write(&mut Object::new(&mut out));
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives(key: String, value: String) {
            let json = parse(|object| object.text(&key, &value));
            proptest::prop_assert_eq!(json[&key].as_str(), Some(value.as_str()));
        }
    }

    #[test]
    fn control_characters_never_appear_as_they_are() {
        let mut out = String::new();
        Object::new(&mut out).text("a\x1eb", "\x00\n\r\t\x1e\x1f\x7f\"\\é");
        assert!(out.chars().all(|char| !char.is_control()), "{out:?}");
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["a\x1eb"], "\x00\n\r\t\x1e\x1f\x7f\"\\é");
    }

    #[test]
    fn values_nest() {
        let json = parse(|object| {
            object.number("max", u64::MAX);
            object.boolean("yes", true);
            object.hex("hex", &[0, 0xab]);
            object.millis("ms", Duration::from_nanos(2_000_003));
            let mut list = object.list("list");
            list.number(1);
            list.text("x");
            list.list().number(2);
            list.object().text("k", "v");
        });
        let expected = serde_json::json!({
            "max": u64::MAX, "yes": true, "hex": "00ab", "ms": 2.000_003,
            "list": [1, "x", [2], {"k": "v"}],
        });
        assert_eq!(json, expected);
    }
}
