//! Asks a witness elsewhere to cosign a checkpoint: `add-checkpoint` of C2SP tlog-witness, over HTTPS; and shows it the root's word for a
//! later epoch beside it, at `add-epoch`. Called by whoever keeps a log.
//! Believes nothing of an answer: its lines are for the caller to verify. Never speaks without TLS but to this computer.

use crate::tls::dial::{Dial, Io};
use crate::tls::{TlsError, certificates, web_client_config};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kith_proto::log::note::{NOTE_BYTES_MAX, NoteError, NoteSignature};
use kith_proto::log::witness::{AddCheckpoint, read_answer};
use kith_proto::problem::Problem;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;

/// The longest URL of a witness.
const URL_BYTES_MAX: usize = 1024;
/// The type of a body that is a size, by tlog-witness.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Where a witness is: `https://host[:port][/prefix]`, or `http://` on this computer alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessUrl {
    is_tls: bool,
    host: String,
    port: u16,
    /// Before `add-checkpoint`.
    prefix: String,
}

/// The text is no such URL: correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a witness is at https://HOST, or on this computer at http://127.0.0.1:PORT")]
pub struct UrlError;

impl UrlError {
    /// The problem code that an edge answers.
    pub const fn problem(self) -> Problem {
        Problem::Invalid
    }
}

impl FromStr for WitnessUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = match text.len() {
            0..=URL_BYTES_MAX => text.parse().map_err(|_| UrlError)?,
            _ => return Err(UrlError),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_local => false,
            _ => return Err(UrlError),
        };
        let with_secret = uri
            .authority()
            .is_none_or(|authority| authority.as_str().contains('@'));
        if uri.query().is_some() || with_secret {
            return Err(UrlError);
        }
        Ok(Self {
            is_tls,
            host,
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl WitnessUrl {
    /// `host:port`, as in a URL.
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for WitnessUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}/add-checkpoint", self.authority(), self.prefix)
    }
}

/// What a witness answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Signature lines, not verified.
    Cosigned(Vec<NoteSignature>),
    /// It last cosigned this size, as it says: ask again with a proof from it.
    HeldSize(u64),
}

/// Why there is no answer, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered, or not in time: it is asked again.
    #[error("the witness could not be reached")]
    Unreachable,
    /// Somebody else answered, or the connection broke: look at the address and the certificate.
    #[error("no HTTPS could be spoken with the witness")]
    Broken,
    /// The witness does not know the log (404), does not know its key (403), or says that it does not go on (422): call its operator.
    #[error("the witness refused with status {0}")]
    Refused(u16),
    /// The answer cannot be read: call the witness's operator.
    #[error("the witness's answer cannot be read")]
    Answer(#[from] NoteError),
    /// The platform lists no roots, or the file has none.
    #[error("there is no certificate to trust a witness by")]
    Roots(#[from] TlsError),
}

impl AskError {
    /// The problem code that an edge answers.
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Unreachable | Self::Broken | Self::Refused(_) => Problem::Unavailable,
            Self::Answer(error) => error.problem(),
            Self::Roots(error) => error.problem(),
        }
    }
}

/// Speaks with witnesses.
#[derive(Clone)]
pub struct Asker {
    dial: Dial,
    tls: Option<Arc<ClientConfig>>,
    within: Duration,
}

impl Asker {
    /// Trusts the certificates of a PEM text, or else those of the platform, and waits no longer than `within` for an answer.
    /// `now_ms` is the clock.
    pub fn new(
        dial: Dial,
        roots_pem: Option<&[u8]>,
        within: Duration,
        now_ms: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, AskError> {
        let roots = match roots_pem {
            Some(pem) => certificates(pem)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        // Without a root only this computer can be asked.
        let tls = match (roots.is_empty(), roots_pem) {
            (true, None) => None,
            _ => Some(web_client_config(roots, now_ms)?),
        };
        Ok(Self { dial, tls, within })
    }

    /// Asks once.
    pub async fn add_checkpoint(
        &self,
        url: &WitnessUrl,
        request: &AddCheckpoint,
    ) -> Result<Answered, AskError> {
        let answer = tokio::time::timeout(self.within, self.post(url, "add-checkpoint", request.to_string()));
        let (status, body) = answer.await.map_err(|_| AskError::Unreachable)??;
        let text = || std::str::from_utf8(&body).map_err(|_| NoteError::Malformed);
        match status {
            StatusCode::OK => Ok(Answered::Cosigned(read_answer(text()?)?)),
            StatusCode::CONFLICT => {
                let size = text()?.trim_end().parse().map_err(|_| NoteError::Malformed)?;
                Ok(Answered::HeldSize(size))
            }
            other => Err(AskError::Refused(other.as_u16())),
        }
    }

    /// Shows the root's word for a later epoch, as text; says whether the witness took it. A witness that knows nothing of such words
    /// (404) is told of the new log by its operator.
    pub async fn add_epoch(&self, url: &WitnessUrl, word: String) -> Result<bool, AskError> {
        let answer = tokio::time::timeout(self.within, self.post(url, "add-epoch", word));
        let (status, _) = answer.await.map_err(|_| AskError::Unreachable)??;
        Ok(status == StatusCode::OK)
    }

    async fn post(&self, url: &WitnessUrl, to: &str, body: String) -> Result<(StatusCode, Bytes), AskError> {
        let address = url.authority();
        let opened = self.dial.open(&address).await;
        let socket = opened.map_err(|_| AskError::Unreachable)?;
        let line: Box<dyn Io> = if url.is_tls {
            let config = self.tls.clone().ok_or(AskError::Roots(TlsError::Certificate))?;
            let name = ServerName::try_from(url.host.clone()).map_err(|_| AskError::Broken)?;
            let stream = TlsConnector::from(config).connect(name, socket).await;
            Box::new(stream.map_err(|_| AskError::Broken)?)
        } else {
            socket
        };
        let request = Request::post(format!("{}/{to}", url.prefix))
            .header(HOST, &address)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| AskError::Broken)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(line))
            .await
            .map_err(|_| AskError::Broken)?;
        let asked = async {
            let response = sender.send_request(request).await;
            read(response.map_err(|_| AskError::Broken)?).await
        };
        // The connection is driven beside the question, and dropped with it.
        tokio::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => answer,
            _ = connection => asked.await,
        }
    }
}

/// Reads a body no longer than an answer may be.
async fn read(response: Response<hyper::body::Incoming>) -> Result<(StatusCode, Bytes), AskError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, NOTE_BYTES_MAX).collect().await;
    Ok((head.status, body.map_err(|_| AskError::Broken)?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_asked_over_tls_or_on_this_computer_and_nowhere_else() {
        for (text, shown) in [
            ("https://w.example", "https://w.example:443/add-checkpoint"),
            (
                "https://w.example:8443/a/",
                "https://w.example:8443/a/add-checkpoint",
            ),
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000/add-checkpoint"),
            ("http://[::1]:7000", "http://[::1]:7000/add-checkpoint"),
            ("http://localhost", "http://localhost:80/add-checkpoint"),
        ] {
            let url: WitnessUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
        }
        for refused in [
            "http://w.example",
            "http://127.0.0.1.example",
            "w.example",
            "/a",
            "ftp://w.example",
            "https://user:secret@w.example",
            "https://w.example/?a=b",
            "",
        ] {
            assert_eq!(refused.parse::<WitnessUrl>(), Err(UrlError), "{refused}");
        }
    }
}
