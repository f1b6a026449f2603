//! How a command reaches the node: the address that `serve` wrote into the data folder, the token, the deadline.
//! Every command that is a gRPC call goes through [`Client`].
//! It must never send a token over a line that is neither this computer's own nor TLS.

use super::options::Own;
use super::say::{self, Out, Refusal};
use crate::keys::{DataFolder, Membership};
use crate::node::{self, Config};
use anyhow::{Context as _, bail};
use kith_proto::v1;
use kith_proto::v1::audit_service_client::AuditServiceClient;
use kith_proto::v1::consent_service_client::ConsentServiceClient;
use kith_proto::v1::directory_service_client::DirectoryServiceClient;
use kith_proto::v1::person_service_client::PersonServiceClient;
use kith_proto::v1::referral_service_client::ReferralServiceClient;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::store::Store;
use kith_service::tls;
use kith_service::tls::dial::{self, Dial};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Longest wait for an answer to one call.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest text taken from standard input, in bytes: more than any field may hold.
const STDIN_BYTES_MAX: u64 = 64 << 10;
/// Most folders named to whoever named the one above them.
const NODES_NAMED_MAX: usize = 8;
/// The file in the data folder that holds the address of the running node.
pub(crate) const ADDRESS_FILE: &str = "grpc";
/// The file in the data folder that holds the address of its workspace.
pub(crate) const WEB_FILE: &str = "web";

/// Which node to talk to, and as whom.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Talk {
    /// The node's data folder (or set KITH_DATA).
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The node's address, such as 127.0.0.1:7400, when the data folder is not on this computer.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) node: Option<String>,
    /// The issuing certificate (PEM) of a node that listens with TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) node_issuer: Option<PathBuf>,
    /// Your token; better in KITH_TOKEN, where other users of this computer cannot see it.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Answer in JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// To repeat a command safely: the same id gives the first answer again. 32 hexadecimal digits.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) request_id: Option<String>,
}

impl Talk {
    /// The data folder, which this command needs.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        let set = self
            .data
            .clone()
            .or_else(|| std::env::var_os("KITH_DATA").map(PathBuf::from));
        set.context("Say where the node's data folder is, with --data DIR.")
    }

    /// The folder of a node that has joined. The error says which folder was looked in, and what it lacks.
    pub(crate) fn folder(&self) -> anyhow::Result<DataFolder> {
        let named = self.data()?;
        let folder = DataFolder::at(&named);
        if folder.holds_node() {
            return Ok(folder);
        }
        let by = if self.data.is_some() {
            "--data"
        } else {
            "KITH_DATA"
        };
        let looked = std::path::absolute(&named).unwrap_or(named);
        let inner = nodes_in(&looked);
        let what_to_do = if inner.is_empty() {
            String::from("Name the right folder, or make it a node's with `kith-node join TOKEN`.")
        } else {
            format!("There is one in {}: name that.", inner.join(", "))
        };
        bail!(
            "There is no node in {} ({by}): the file keys/network, which `join` writes, is not there. {what_to_do}",
            looked.display()
        )
    }

    fn address(&self) -> anyhow::Result<String> {
        if let Some(address) = &self.node {
            return Ok(address.clone());
        }
        let folder = self.folder()?;
        let text = std::fs::read_to_string(folder.path().join(ADDRESS_FILE)).with_context(|| {
            let place = folder.path().display();
            format!(
                "The node in {place} is not running: start it with `kith-node serve --data {place}`, or name it with --node ADDRESS."
            )
        })?;
        Ok(text.trim().to_owned())
    }

    /// Opens the line to the node.
    pub(crate) async fn client(&self, rng: Rng) -> anyhow::Result<Client> {
        // First, as a token is made in the folder.
        let address = self.address()?;
        let token = self.token.clone().or_else(|| std::env::var("KITH_TOKEN").ok());
        let token =
            token.context("A token is needed: set KITH_TOKEN, or make one with `kith-node token new`.")?;
        let bearer = format!("Bearer {}", token.trim());
        let mut bearer: MetadataValue<Ascii> = bearer
            .parse()
            .map_err(|_| anyhow::anyhow!("This is not a token."))?;
        bearer.set_sensitive(true);
        let channel = self.channel(address).await?;
        let request_id = self.request_id.as_deref().map(say::id).transpose()?;
        Ok(Client {
            line: InterceptedService::new(channel, Bearer(bearer)),
            rng,
            request_id,
            out: self.out(),
        })
    }

    /// How this command answers.
    pub(crate) const fn out(&self) -> Out {
        Out { json: self.json }
    }

    /// Opens the database of the data folder, or the one at `store_url`, beside a running node or without one.
    pub(crate) async fn open_store(
        &self,
        store_url: Option<String>,
        clock: &Clock,
    ) -> anyhow::Result<(Membership, Store)> {
        let folder = self.folder()?;
        let membership = Membership::load(&folder)?;
        let config = Config {
            store_url: store_of(&folder, store_url)?,
            folder,
            store_blocking: false,
        };
        let store = node::open_store(&config, &membership, clock.now_ms()).await?;
        Ok((membership, store))
    }

    async fn channel(&self, address: String) -> anyhow::Result<Channel> {
        let lost = "The node does not answer. Is it running? Start it with `kith-node serve --data DIR`.";
        let Some(file) = &self.node_issuer else {
            let here = address.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback());
            if !here && !address.starts_with("localhost:") {
                bail!(
                    "A node on another computer is only reached with TLS: give its issuing certificate with --node-issuer FILE."
                );
            }
            return dial::plain_channel(&Dial::tcp(), &address).await.context(lost);
        };
        let pem = std::fs::read(file).context("The issuing certificate cannot be read.")?;
        let root = tls::root_certificate(&pem).context("The issuing certificate cannot be read.")?;
        let clock = Clock::system();
        let config = tls::client_config(root, None, move || clock.now_ms())?;
        let (host, _) = address.rsplit_once(':').context("The address has no port.")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        dial::channel(&Dial::tcp(), &address, host, config)
            .await
            .context(lost)
    }
}

/// The store of a command: the one that it names, or else the one that `join` or `serve` was given last; none for the file in the
/// folder.
pub(crate) fn store_of(folder: &DataFolder, named: Option<String>) -> anyhow::Result<Option<String>> {
    match named {
        Some(url) => Ok(Some(url)),
        None => Ok(folder.kept_store()?),
    }
}

/// The folders of nodes directly inside a folder, for whoever named one too high; none where it cannot be read.
fn nodes_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter(|entry| DataFolder::at(entry.path()).holds_node())
        .take(NODES_NAMED_MAX)
        .map(|entry| entry.path().display().to_string())
        .collect();
    found.sort();
    found
}

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The line with the token on it.
pub(crate) type Line = InterceptedService<Channel, Bearer>;

/// An open line to the node, and what a command needs beside it.
pub(crate) struct Client {
    line: Line,
    rng: Rng,
    request_id: Option<Vec<u8>>,
    /// Where to answer.
    pub(crate) out: Out,
}

impl Client {
    /// People.
    pub(crate) fn persons(&self) -> PersonServiceClient<Line> {
        PersonServiceClient::new(self.line.clone())
    }

    /// Consent.
    pub(crate) fn consent(&self) -> ConsentServiceClient<Line> {
        ConsentServiceClient::new(self.line.clone())
    }

    /// Referrals.
    pub(crate) fn referrals(&self) -> ReferralServiceClient<Line> {
        ReferralServiceClient::new(self.line.clone())
    }

    /// The directory.
    pub(crate) fn directory(&self) -> DirectoryServiceClient<Line> {
        DirectoryServiceClient::new(self.line.clone())
    }

    /// The trail.
    pub(crate) fn audit(&self) -> AuditServiceClient<Line> {
        AuditServiceClient::new(self.line.clone())
    }

    /// The id of a write: the caller's, or a fresh one.
    pub(crate) fn request_id(&self) -> anyhow::Result<Vec<u8>> {
        match &self.request_id {
            Some(id) => Ok(id.clone()),
            None => Ok(self.rng.bytes::<16>()?.to_vec()),
        }
    }

    /// Finds a person by id, or by the beginning of a name that only one person has.
    pub(crate) async fn person(&self, who: &str) -> anyhow::Result<Vec<u8>> {
        if let Ok(id) = say::id(who) {
            return Ok(id);
        }
        let asked = v1::ListPersonsRequest {
            name: who.to_owned(),
            page_size: 2,
            ..Default::default()
        };
        let named: Own = &[("name", "--person")];
        let found = answer_to(self.persons().list_persons(ask(asked)).await, named, &[])?.persons;
        match found.as_slice() {
            [one] => Ok(one.person_id.clone()),
            [] => bail!("Nobody of that name is recorded here. Look with `kith-node person list`."),
            _ => bail!(
                "More than one person has a name like that. Use the id that `kith-node person list` shows."
            ),
        }
    }
}

/// A call with the usual deadline.
pub(crate) fn ask<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_MAX);
    request
}

/// The answer of a call, or the refusal to show, with its fields called as they were typed.
pub(crate) fn answer<T>(answered: Result<tonic::Response<T>, Status>) -> Result<T, Refusal> {
    answer_to(answered, &[], &[])
}

/// As [`answer`], for a command that has options of its own names, or was told parts.
pub(crate) fn answer_to<T>(
    answered: Result<tonic::Response<T>, Status>,
    own: Own,
    parts: &[v1::Part],
) -> Result<T, Refusal> {
    let typed = |status: Status| Refusal::from(status).typed(own, parts);
    answered.map(tonic::Response::into_inner).map_err(typed)
}

/// A text from the command line; `-` reads it from standard input.
pub(crate) fn long_text(text: String) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_string(&mut read)
        .context("The text cannot be read as UTF-8.")?;
    Ok(read.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_remembered_until_another_one_is_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path());
        folder.make().unwrap();
        let url = |name: &str| Some(format!("postgres://{name}"));
        assert_eq!(store_of(&folder, None).unwrap(), None);
        folder.keep_store("postgres://a").unwrap();
        assert_eq!(store_of(&folder, None).unwrap(), url("a"));
        assert_eq!(store_of(&folder, url("b")).unwrap(), url("b"));
        assert_eq!(store_of(&folder, None).unwrap(), url("a"));
    }
}
