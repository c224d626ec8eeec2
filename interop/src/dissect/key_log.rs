//! TLS secrets in the format that NSS made common: a label, the client's random and the secret.

use std::collections::HashMap;

/// The random bytes of a ClientHello, by which a key log tells connections apart.
pub(crate) type ClientRandom = [u8; 32];

/// The secrets of any number of connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyLog {
    secrets: HashMap<ClientRandom, HashMap<String, Vec<u8>>>,
}

impl KeyLog {
    /// Adds the lines of a key-log file; what is no secret is skipped.
    pub(crate) fn add(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(label), Some(random), Some(secret)) =
                (words.next(), words.next().and_then(unhex), words.next().and_then(unhex))
            else {
                continue;
            };
            if let Ok(random) = ClientRandom::try_from(random) {
                self.secrets.entry(random).or_default().insert(label.to_owned(), secret);
            }
        }
    }

    /// A secret of the connection whose ClientHello had this random.
    pub(super) fn secret(&self, random: &ClientRandom, label: &str) -> Option<&[u8]> {
        self.secrets.get(random)?.get(label).map(Vec::as_slice)
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    digits.len().is_multiple_of(2).then_some(())?;
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_the_random_of_the_client() {
        let mut log = KeyLog::default();
        let (a, b) = ("0a".repeat(32), "0b".repeat(32));
        log.add(&format!("# comment\nSOME_SECRET {a} 0102\nSOME_SECRET {b} 03\nBROKEN {b}\n"));
        log.add(&format!("OTHER {a} ff\nODD {a} fff\nSHORT 0a ff\n"));
        assert_eq!(log.secret(&[10; 32], "SOME_SECRET"), Some(&[1, 2][..]));
        assert_eq!(log.secret(&[11; 32], "SOME_SECRET"), Some(&[3][..]));
        assert_eq!(log.secret(&[10; 32], "OTHER"), Some(&[255][..]));
        assert_eq!(log.secret(&[10; 32], "ODD"), None);
        assert_eq!(log.secret(&[12; 32], "SOME_SECRET"), None);
    }
}
