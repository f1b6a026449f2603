//! Issues the short-lived certificates of a network: members' for the client side, the gateway's for the server side.
//! The gateway holds one [`IssuingKey`]; a node calls [`generate_key_pem`] and [`certificate_request`] only.
//! It must never take a name, a usage or a time from a request: of a request only the proven public key counts.

use super::identity::{self, Identity};
use kith_proto::id::{Address, NetworkName};
use kith_proto::problem::Problem;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Usage, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, DnsName};
use std::fmt;
use std::io;
use std::path::Path;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

/// Largest certificate request taken, in bytes: one key, one signature and some room; ours is under 300.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Length of a serial number in bytes, all random, so that none is given twice (RFC 5280 allows 20 bytes and a sign).
const SERIAL_BYTES: usize = 16;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request is too large, not one PKCS #10 request, or not signed by the key it names: make a new one.
    #[error("the certificate request cannot be read or is not signed by its key")]
    Request,
    /// The request's key is neither ECDSA P-256 nor Ed25519: make a new one.
    #[error("the kind of key is not supported")]
    KeyKind,
    /// The issuing certificate or key cannot be read, is none, or they are not a pair: correct the files.
    #[error("the issuing certificate and key cannot be used")]
    IssuingKey,
    /// The member is of another network, or the DNS name is none: a mistake of the caller.
    #[error("the name is not one this key may certify")]
    Name,
    /// The times are in the wrong order, or reach beyond the issuing certificate: renew that first.
    #[error("the validity is empty or longer than the issuing certificate's")]
    Validity,
    /// A file could not be read: correct the path or its rights.
    #[error("a file of the issuing key could not be read")]
    File(#[source] io::Error),
    /// The cryptography library failed: try again.
    #[error("signing failed")]
    Signing,
}

impl IssueError {
    /// The problem that a caller is told.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Request | Self::KeyKind | Self::Name => Problem::Invalid,
            Self::IssuingKey | Self::Validity | Self::File(_) | Self::Signing => Problem::Unavailable,
        }
    }
}

/// From when until when a certificate counts, ms UTC; certificates keep whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before_ms: i64,
    /// Last moment.
    pub not_after_ms: i64,
}

/// A new server certificate and the new key it belongs to.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The certificate, PEM.
    pub chain_pem: String,
    /// Its private key, PKCS #8 PEM; secret.
    pub key_pem: String,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCertificate(..)")
    }
}

/// The gateway's TLS issuing key with its self-signed certificate, which members pin.
pub struct IssuingKey {
    network: NetworkName,
    not_after_ms: i64,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for IssuingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuingKey({}, ..)", self.network)
    }
}

impl IssuingKey {
    /// Makes a new ECDSA P-256 key and its certificate, which names the network (`spiffe://NETWORK`) and may issue
    /// end certificates only.
    pub fn generate(network: &NetworkName, validity: Validity) -> Result<Self, IssueError> {
        let key = generate_key()?;
        let mut params = params(validity)?;
        params
            .distinguished_name
            .push(DnType::CommonName, network.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(Identity::network_uri(network))?];
        let certificate = params.self_signed(&key).map_err(|_| IssueError::Signing)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// Reads certificate and key from two PEM files.
    pub fn load(certificate_path: &Path, key_path: &Path) -> Result<Self, IssueError> {
        let read = |path| std::fs::read_to_string(path).map_err(IssueError::File);
        Self::from_pem(&read(certificate_path)?, &read(key_path)?)
    }

    /// Reads certificate and key; the certificate must be an issuer's, name one network and be of this key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| IssueError::IssuingKey)?;
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| IssueError::IssuingKey)?;
        let (network, not_after_ms) = read_issuing(&certificate, &key).ok_or(IssueError::IssuingKey)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| IssueError::IssuingKey)?;
        Ok(Self {
            network,
            not_after_ms,
            certificate,
            certificate_pem: certificate_pem.to_owned(),
            issuer,
        })
    }

    /// The network whose names this key certifies.
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// When the issuing certificate ends, ms UTC; nothing issued outlives it.
    pub const fn not_after_ms(&self) -> i64 {
        self.not_after_ms
    }

    /// The issuing certificate as the only root that TLS trusts.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The issuing certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key, PKCS #8 PEM; secret. Only for writing it to its file.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a member's client certificate for the key that signed the request (PKCS #10, DER). Its one name is
    /// `spiffe://NETWORK/org/ORG` of `member`; whatever else the request asks for is ignored. Returns PEM.
    pub fn issue_member(
        &self,
        request_der: &[u8],
        member: &Address,
        validity: Validity,
    ) -> Result<String, IssueError> {
        if member.network != self.network {
            return Err(IssueError::Name);
        }
        let key = proven_key(request_der)?;
        let name = uri(Identity::uri(&member.network, &member.org))?;
        self.issue(&key, name, Usage::ClientAuth, validity)
    }

    /// Issues a certificate with a new key for a server of one DNS name, as `gateway.NETWORK`.
    pub fn issue_server(&self, dns_name: &str, validity: Validity) -> Result<ServerCertificate, IssueError> {
        DnsName::try_from(dns_name).map_err(|_| IssueError::Name)?;
        let name = SanType::DnsName(dns_name.try_into().map_err(|_| IssueError::Name)?);
        let key = generate_key()?;
        let chain_pem = self.issue(&key, name, Usage::ServerAuth, validity)?;
        let key_pem = key.serialize_pem();
        Ok(ServerCertificate { chain_pem, key_pem })
    }

    /// Issues an end certificate with exactly one name and one usage.
    fn issue(
        &self,
        key: &impl PublicKeyData,
        name: SanType,
        usage: Usage,
        validity: Validity,
    ) -> Result<String, IssueError> {
        if validity.not_after_ms > self.not_after_ms {
            return Err(IssueError::Validity);
        }
        let mut params = params(validity)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = vec![name];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(key, &self.issuer)
            .map_err(|_| IssueError::Signing)?;
        Ok(certificate.pem())
    }
}

/// Makes a private key for a member's certificates (ECDSA P-256), PKCS #8 PEM; secret.
pub fn generate_key_pem() -> Result<String, IssueError> {
    Ok(generate_key()?.serialize_pem())
}

/// Makes the request (PKCS #10, DER) that proves possession of a private key; it names nobody.
pub fn certificate_request(key_pem: &str) -> Result<Vec<u8>, IssueError> {
    let key = KeyPair::from_pem(key_pem).map_err(|_| IssueError::KeyKind)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(|_| IssueError::Signing)?;
    Ok(request.der().to_vec())
}

fn generate_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| IssueError::Signing)
}

/// Empty parameters with the validity and a random serial number.
fn params(validity: Validity) -> Result<CertificateParams, IssueError> {
    if validity.not_before_ms >= validity.not_after_ms {
        return Err(IssueError::Validity);
    }
    let mut serial = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| IssueError::Signing)?;
    let mut params = CertificateParams::default();
    params.not_before = whole_second(validity.not_before_ms)?.to_datetime();
    params.not_after = whole_second(validity.not_after_ms)?.to_datetime();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn whole_second(time_ms: i64) -> Result<ASN1Time, IssueError> {
    ASN1Time::from_timestamp(time_ms.div_euclid(1000)).map_err(|_| IssueError::Validity)
}

fn uri(text: String) -> Result<SanType, IssueError> {
    Ok(SanType::URI(text.try_into().map_err(|_| IssueError::Name)?))
}

/// The public key of a request, once the request's own signature has proved that its maker holds the private half.
fn proven_key(request_der: &[u8]) -> Result<SubjectPublicKeyInfo, IssueError> {
    if request_der.len() > REQUEST_BYTES_MAX {
        return Err(IssueError::Request);
    }
    let (rest, request) = X509CertificationRequest::from_der(request_der).map_err(|_| IssueError::Request)?;
    if !rest.is_empty() {
        return Err(IssueError::Request);
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| IssueError::KeyKind)?;
    if ![&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519].contains(&key.algorithm()) {
        return Err(IssueError::KeyKind);
    }
    request.verify_signature().map_err(|_| IssueError::Request)?;
    Ok(key)
}

/// Network and end of an issuing certificate, if it is one and of this key.
fn read_issuing(certificate: &CertificateDer<'_>, key: &KeyPair) -> Option<(NetworkName, i64)> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    let own_key = parsed.public_key().raw == key.subject_public_key_info();
    let usable = rest.is_empty() && own_key && identity::may_issue(&parsed).ok()?;
    let network = usable.then(|| identity::issuing_network(&parsed).ok())??;
    Some((
        network,
        parsed.validity().not_after.timestamp().checked_mul(1000)?,
    ))
}

#[cfg(test)]
mod tests;
