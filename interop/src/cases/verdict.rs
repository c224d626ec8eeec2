//! What a check says, in words for the person who reads the matrix.

use std::fmt;

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// All was as it must be.
    Succeeded(Success),
    /// Something was not: which packet, when, and what was expected.
    Failed(String),
    /// It cannot be told, because an endpoint does not give what the check needs.
    Unsupported(String),
}

/// What was found in a run that succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Success {
    /// What each check found.
    pub(crate) notes: Vec<String>,
    /// The result of a measurement.
    pub(crate) kbit_per_second: Option<f64>,
}

/// Why a check does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// Something is wrong.
    Failed(String),
    /// The evidence does not say.
    Unsupported(String),
}

impl Objection {
    /// Something is wrong.
    pub(super) fn failed<T>(why: impl fmt::Display) -> Result<T, Self> {
        Err(Self::Failed(why.to_string()))
    }
}

impl From<Objection> for Verdict {
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::Failed(why) => Self::Failed(why),
            Objection::Unsupported(why) => Self::Unsupported(why),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Unsupported(why) => write!(f, "unsupported: {why}"),
            Self::Succeeded(Success { notes, kbit_per_second }) => {
                f.write_str("succeeded: ")?;
                f.write_str(&notes.join("; "))?;
                match kbit_per_second {
                    Some(rate) => write!(f, "; {rate:.0} kbit/s"),
                    None => Ok(()),
                }
            }
        }
    }
}
