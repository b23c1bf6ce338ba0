//! The private CA: making it, issuing nodes' certificates, and reading what a certificate says.
//!
//! A node's certificate names it twice: `DNS:NAME`, which TLS libraries check, and `URI:mailshadow://node/NAME`, which
//! says that it *is* a node, and which one.

use super::clock;
use super::pem::{self, PemError};
use crate::config::values::is_plain_name;
use crate::op::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::ServerName;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

/// What stands before the name in a node's URI.
pub const NODE_URI: &str = "mailshadow://node/";
const DAY: i64 = 86_400;
/// Life of the CA: longer than the machines; a lost CA is replaced, not renewed.
const CA_DAYS: i64 = 3_653;
/// Life of a node's certificate: `check` warns 30 days before its end.
const NODE_DAYS: i64 = 730;
/// Certificates count from an hour ago: nodes whose clocks are a little behind accept them at once.
const BACKDATED_SECONDS: i64 = 3_600;

/// From when to when a certificate is good, UNIX seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub until: i64,
}

impl Validity {
    fn days(days: i64) -> Self {
        let now = clock::unix_seconds();
        Self {
            from: now - BACKDATED_SECONDS,
            until: now + days * DAY,
        }
    }
}

/// Files that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
}

/// Makes `ca.pem` and `ca.key` in `dir`, which is created where it is missing.
///
/// # Errors
/// One of them exists (nothing is overwritten), or the folder can't be written.
pub fn init(dir: &Path) -> Result<Issued, PemError> {
    std::fs::create_dir_all(dir).map_err(|e| PemError::new(dir, format!("create the folder: {e}")))?;
    let files = names(dir, "ca");
    refuse_existing(&files)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made(dir))?;
    // each CA has a name of its own: with equal names a foreign one would look like a damaged one
    let name: String = blake3::hash(key.public_key_pem().as_bytes())
        .to_hex()
        .chars()
        .take(8)
        .collect();
    let mut params = params(Validity::days(CA_DAYS), &format!("mailshadow CA {name}")).map_err(made(dir))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).map_err(made(dir))?;
    write(&files, &cert.pem(), &key.serialize_pem())?;
    Ok(files)
}

/// Issues `NAME.pem` and `NAME.key` in `dir`, which holds the CA. `sans` are further host names or IP addresses.
///
/// # Errors
/// The CA can't be read, the name or a SAN can't stand in a certificate, a file exists.
pub fn issue(dir: &Path, name: &str, sans: &[String]) -> Result<Issued, PemError> {
    issue_for(dir, name, sans, Validity::days(NODE_DAYS))
}

/// As [`issue`], for a time of choice.
///
/// # Errors
/// As [`issue`].
pub fn issue_for(dir: &Path, name: &str, sans: &[String], validity: Validity) -> Result<Issued, PemError> {
    let refused = |why: &str| PemError::new(dir, format!("\"{name}\" {why}"));
    if !is_plain_name(name) || ServerName::try_from(name).is_err() {
        return Err(refused(
            "is no node name: 1 to 64 letters, digits, '.', '-', '_', as in a host name",
        ));
    }
    if name == "ca" {
        return Err(refused("would overwrite the CA: choose another node name"));
    }
    let files = names(dir, name);
    refuse_existing(&files)?;
    let ca = names(dir, "ca");
    let ca_key = String::from_utf8_lossy(&pem::read(&ca.key)?).into_owned();
    let ca_key = KeyPair::from_pem(&ca_key).map_err(made(&ca.key))?;
    let ca_cert = String::from_utf8_lossy(&pem::read(&ca.cert)?).into_owned();
    let issuer = Issuer::from_ca_cert_pem(&ca_cert, ca_key).map_err(made(&ca.cert))?;
    let mut params = params(validity, name).map_err(made(dir))?;
    params.subject_alt_names = alt_names(name, sans).map_err(|why| PemError::new(dir, why))?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made(dir))?;
    let cert = params.signed_by(&key, &issuer).map_err(made(dir))?;
    write(&files, &cert.pem(), &key.serialize_pem())?;
    Ok(files)
}

fn names(dir: &Path, name: &str) -> Issued {
    Issued {
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    }
}

fn made(path: &Path) -> impl Fn(rcgen::Error) -> PemError + use<> {
    let path = path.to_owned();
    move |error| PemError::new(&path, error.to_string())
}

fn refuse_existing(files: &Issued) -> Result<(), PemError> {
    for path in [&files.cert, &files.key] {
        if path.symlink_metadata().is_ok() {
            return Err(PemError::new(
                path,
                "exists already; nothing is overwritten: move it away first",
            ));
        }
    }
    Ok(())
}

fn params(validity: Validity, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let date = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time);
    params.not_before = date(validity.from)?;
    params.not_after = date(validity.until)?;
    Ok(params)
}

fn alt_names(name: &str, sans: &[String]) -> Result<Vec<SanType>, String> {
    let dns = |text: &str| {
        let text = text
            .to_owned()
            .try_into()
            .map_err(|_| format!("\"{text}\" is no host name"))?;
        Ok::<_, String>(SanType::DnsName(text))
    };
    let uri = format!("{NODE_URI}{name}").try_into();
    let mut all = vec![
        SanType::URI(uri.map_err(|_| format!("\"{name}\" can't stand in a URI"))?),
        dns(name)?,
    ];
    for san in sans {
        let entry = match san.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if ServerName::try_from(san.as_str()).is_ok() => dns(san)?,
            Err(_) => return Err(format!("--san \"{san}\" is neither a host name nor an IP address")),
        };
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    Ok(all)
}

/// The key first: a certificate without its key would look finished.
fn write(files: &Issued, cert: &str, key: &str) -> Result<(), PemError> {
    for (path, text, mode) in [(&files.key, key, 0o600), (&files.cert, cert, 0o644)] {
        let mut options = std::fs::File::options();
        let file = options.write(true).create_new(true).mode(mode).open(path);
        let mut file = file.map_err(|e| PemError::new(path, format!("create: {e}")))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|e| PemError::new(path, format!("write: {e}")))?;
    }
    Ok(())
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The node that it names; none where it names none, or several.
    pub node: Option<NodeName>,
    /// Host names and addresses, as text.
    pub names: Vec<String>,
    /// From when to when it is good.
    pub validity: Validity,
}

/// Reads the first certificate of a file.
///
/// # Errors
/// The file can't be read, or holds none.
pub fn facts(path: &Path) -> Result<CertificateFacts, PemError> {
    let chain = pem::certificates(path)?;
    let first = chain
        .first()
        .ok_or_else(|| PemError::new(path, "holds no certificate"))?;
    facts_of(first).ok_or_else(|| PemError::new(path, "not an X.509 certificate"))
}

/// Reads a certificate as it comes over the wire (DER). None where it is none.
#[must_use]
pub fn facts_of(der: &[u8]) -> Option<CertificateFacts> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut nodes = Vec::new();
    let mut names = Vec::new();
    let alternatives = cert.subject_alternative_name().ok()?;
    for general in alternatives.iter().flat_map(|san| &san.value.general_names) {
        match general {
            GeneralName::URI(uri) => nodes.extend(uri.strip_prefix(NODE_URI)),
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => names.extend(ip_text(octets)),
            _ => {}
        }
    }
    let validity = cert.validity();
    Some(CertificateFacts {
        node: match nodes.as_slice() {
            [one] if is_plain_name(one) => Some(NodeName::from(*one)),
            _ => None,
        },
        names,
        validity: Validity {
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        },
    })
}

fn ip_text(octets: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let six = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or(six).ok().map(|address| address.to_string())
}
