//! Who a client certificate speaks for: exactly one name, the URI `spiffe://NETWORK/org/ORG` (X509-SVID).
//! [`super::incoming`] reads it once per connection; the edge compares network and membership with its own records.
//! It must never judge who issued a certificate (TLS has) nor look at any other field for a name.

use kith_proto::id::{NetworkName, OrgId};
use kith_proto::problem::Problem;
use kith_proto::sign::sha256;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const SCHEME: &str = "spiffe://";

/// Why a certificate names no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not one certificate in DER.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// No alternative name, or more than one, or one that is no URI.
    #[error("the certificate has not exactly one name that is a URI")]
    Names,
    /// The URI is not `spiffe://NETWORK/org/ORG`.
    #[error("the certificate's name is not that of a member")]
    Shape,
    /// The certificate may issue others; a member's never may.
    #[error("the certificate is an issuer's")]
    Issuer,
}

impl IdentityError {
    /// The problem that a caller is told.
    pub const fn problem(&self) -> Problem {
        Problem::Unauthenticated
    }
}

/// The member that a connection's certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The network that the certificate says; the edge refuses any but its own.
    pub network: NetworkName,
    /// The member.
    pub org: OrgId,
    /// SHA-256 of the public key info that the certificate was issued for.
    pub tls_key_hash: [u8; 32],
    /// When the certificate ends, ms UTC. TLS looks only when a connection opens; a long stream must look again.
    pub not_after_ms: i64,
}

impl Identity {
    /// Reads the identity of a certificate whose issuer TLS has verified.
    pub fn from_der(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
        if !rest.is_empty() {
            return Err(IdentityError::Unreadable);
        }
        if may_issue(&parsed)? {
            return Err(IdentityError::Issuer);
        }
        let (network, org) = parse(only_uri(&parsed)?).ok_or(IdentityError::Shape)?;
        let not_after_ms = parsed.validity().not_after.timestamp().saturating_mul(1000);
        Ok(Self {
            network,
            org,
            tls_key_hash: sha256(&[parsed.public_key().raw]),
            not_after_ms,
        })
    }

    /// Writes the URI of a member.
    pub fn uri(network: &NetworkName, org: &OrgId) -> String {
        format!("{SCHEME}{network}/org/{org}")
    }

    /// Writes the URI of a network itself, which its issuing certificate carries.
    pub fn network_uri(network: &NetworkName) -> String {
        format!("{SCHEME}{network}")
    }
}

/// Reads the network of an issuing certificate's only name, `spiffe://NETWORK`.
pub(super) fn issuing_network(parsed: &X509Certificate<'_>) -> Result<NetworkName, IdentityError> {
    let name = only_uri(parsed)?.strip_prefix(SCHEME);
    name.and_then(|n| n.parse().ok()).ok_or(IdentityError::Shape)
}

/// Whether the certificate is marked as an issuer's, by either of the two marks.
pub(super) fn may_issue(parsed: &X509Certificate<'_>) -> Result<bool, IdentityError> {
    let usage = parsed.key_usage().map_err(|_| IdentityError::Unreadable)?;
    let constraints = parsed
        .basic_constraints()
        .map_err(|_| IdentityError::Unreadable)?;
    Ok(constraints.is_some_and(|c| c.value.ca)
        || usage.is_some_and(|u| u.value.key_cert_sign() || u.value.crl_sign()))
}

fn only_uri<'a>(parsed: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Names)?
        .ok_or(IdentityError::Names)?;
    match names.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => Ok(uri),
        _ => Err(IdentityError::Names),
    }
}

fn parse(uri: &str) -> Option<(NetworkName, OrgId)> {
    let (network, org) = uri.strip_prefix(SCHEME)?.split_once("/org/")?;
    Some((network.parse().ok()?, org.parse().ok()?))
}

#[cfg(test)]
mod tests;
