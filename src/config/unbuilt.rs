//! Keys whose feature this version has not got.

use super::ConfigError;

/// A key that is read and checked, but not acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt(ConfigError);

impl Unbuilt {
    /// `wrong` names file, line and key; `meanwhile` what to do until it is built.
    pub(super) fn new(mut wrong: ConfigError, key: &str, meanwhile: &str) -> Self {
        key.clone_into(&mut wrong.key);
        wrong.message = format!("not built in version {}: {meanwhile}", env!("CARGO_PKG_VERSION"));
        Self(wrong)
    }
}

impl From<Unbuilt> for ConfigError {
    fn from(unbuilt: Unbuilt) -> Self {
        unbuilt.0
    }
}
