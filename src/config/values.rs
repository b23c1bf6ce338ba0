//! Values of single keys. Each refuses what it can't mean, so its place in the file is known when it does.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A name or an IP address, and a port: `mail-b.example.net:4790`, `[2001:db8::1]:993`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPort {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port, not 0.
    pub port: u16,
}

impl TryFrom<String> for HostPort {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("expected \"HOST:PORT\", found \"{text}\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match bare {
            Some(six) if six.parse::<std::net::Ipv6Addr>().is_ok() => six,
            None if is_host(host) => host,
            _ => return Err(wrong()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a service of this machine is: `HOST:PORT`, or the absolute path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ServiceAddress {
    /// Over TCP.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

impl TryFrom<String> for ServiceAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let tcp = HostPort::try_from(text).map(Self::Tcp);
        tcp.map_err(|wrong| wrong.replace("HOST:PORT\"", "HOST:PORT\" or the absolute path of a socket"))
    }
}

impl std::fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Letters, digits, dots and hyphens: what a host name or an IPv4 address is written in.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
    !text.is_empty() && text.len() <= 253 && text.chars().all(plain)
}

/// Whether what is shipped is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// Where the peer is farther away than the same house.
    #[default]
    Auto,
    /// Always: bytes are dear.
    On,
    /// Never: processors are.
    Off,
}

/// Bytes a second, at least [`BytesPerSecond::MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "i64")]
pub struct BytesPerSecond(pub u64);

impl BytesPerSecond {
    /// Below it one message of usual size would take minutes: rather a mistake of units.
    pub const MIN: u64 = 10_000;
}

impl TryFrom<i64> for BytesPerSecond {
    type Error = String;
    fn try_from(number: i64) -> Result<Self, String> {
        match u64::try_from(number) {
            Ok(fits) if fits >= Self::MIN => Ok(Self(fits)),
            _ => Err(format!(
                "expected a number of bytes from {} on, found {number}",
                Self::MIN
            )),
        }
    }
}

/// A name that also stands in file names and URIs: of a node or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PlainName(pub(super) String);

impl TryFrom<String> for PlainName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if is_plain_name(&text) {
            Ok(Self(text))
        } else {
            Err(format!(
                "expected a name of 1 to 64 letters, digits, '.', '-', '_', first a letter or digit, found \"{text}\""
            ))
        }
    }
}

/// True for 1 to 64 letters, digits, `.`, `-`, `_` of ASCII that start with a letter or digit.
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}

/// A command with its arguments, run without a shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Argv(Vec<String>);

impl TryFrom<Vec<String>> for Argv {
    type Error = String;
    fn try_from(words: Vec<String>) -> Result<Self, String> {
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self(words)),
            _ => Err("expected a list: the program, then its arguments".to_owned()),
        }
    }
}

impl Argv {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Program and arguments.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// A program given by a relative path counts from `folder`; a bare name is looked up in `PATH`.
    pub(super) fn under(mut self, folder: &Path) -> Self {
        if let Some(program) = self.0.first_mut().filter(|program| program.contains('/')) {
            *program = folder.join(&*program).to_string_lossy().into_owned();
        }
        self
    }
}

impl Default for Argv {
    fn default() -> Self {
        Self(vec!["doveadm".to_owned()])
    }
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct RetainFor(pub Duration);

impl TryFrom<String> for RetainFor {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self)
    }
}

impl Default for RetainFor {
    fn default() -> Self {
        Self(Duration::from_secs(14 * 86_400))
    }
}

/// Reads `14d`, `30s`, `1h30m`, `250ms`: numbers with `w`, `d`, `h`, `m`, `s` or `ms`, no spaces, at most 10 years.
///
/// # Errors
/// What was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time like \"30s\", \"1h30m\" or \"14d\", found \"{text}\"");
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number
            .checked_mul(unit_millis(unit).ok_or_else(wrong)?)
            .ok_or_else(wrong)?;
        millis = millis.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    let ten_years = 3_653 * 86_400_000;
    if text.is_empty() || millis > ten_years {
        return Err(wrong());
    }
    Ok(Duration::from_millis(millis))
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    })
}

/// A path that counts from the configuration's folder where it is relative.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FilePath(PathBuf);

impl TryFrom<String> for FilePath {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("expected a path, found an empty one".to_owned());
        }
        Ok(Self(text.into()))
    }
}

impl FilePath {
    pub(super) fn under(self, folder: &Path) -> PathBuf {
        folder.join(self.0)
    }
}

/// An address to listen on: `0.0.0.0:4790`, `[::]:4790`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Listen(pub(super) std::net::SocketAddr);

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let address = text.parse::<std::net::SocketAddr>();
        let address = address.map_err(|_| format!("expected \"IP:PORT\", as \"0.0.0.0:4790\", found \"{text}\""))?;
        if address.port() == 0 {
            return Err(format!("expected a port other than 0, found \"{text}\""));
        }
        Ok(Self(address))
    }
}

/// A server of HAProxy's as its runtime socket names it: `backend/server`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct BackendServer(pub(super) String);

impl TryFrom<String> for BackendServer {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // what HAProxy itself takes in a name
        let is_name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
            !name.is_empty() && name.len() <= 128 && name.chars().all(plain)
        };
        match text.split_once('/') {
            Some((backend, server)) if is_name(backend) && is_name(server) => Ok(Self(text)),
            _ => Err(format!("expected \"BACKEND/SERVER\", found \"{text}\"")),
        }
    }
}

/// A DNS name, without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct DnsName(pub(super) String);

impl TryFrom<String> for DnsName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bare = text.strip_suffix('.').unwrap_or(&text);
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        if bare.len() <= 253 && bare.split('.').all(is_label) {
            Ok(Self(bare.to_owned()))
        } else {
            Err(format!("expected a DNS name, found \"{text}\""))
        }
    }
}

impl DnsName {
    /// True where this name is `zone` or below it.
    pub(super) fn is_within(&self, zone: &Self) -> bool {
        let (name, zone) = (self.0.to_ascii_lowercase(), zone.0.to_ascii_lowercase());
        name == zone || name.strip_suffix(&zone).is_some_and(|below| below.ends_with('.'))
    }
}
