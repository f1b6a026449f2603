//! The demo's processes: this program again, as a gateway or a node. Started and stopped by `network`.
//! Ends only what it started, by its own handle.

use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long a server may take until it has written its address.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a file or a process is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What every process of the demo is started with.
#[derive(Clone, Debug)]
pub struct Stage {
    /// A program that plays roles.
    program: PathBuf,
    /// The file that moves the clock.
    clock: PathBuf,
}

impl Stage {
    /// A stage whose processes are `program` in a role and follow this clock file.
    pub fn new(program: PathBuf, clock: PathBuf) -> Self {
        Self { program, clock }
    }

    fn command<S: AsRef<OsStr>>(&self, role: &str, args: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("role").arg(&self.clock).arg(role).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs one command of `kith-gateway` or `kith-node` to its end and returns what it printed.
    pub fn run<S: AsRef<OsStr>>(&self, role: &str, args: &[S]) -> anyhow::Result<String> {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(role, args).output()?;
        if !status.success() {
            // In JSON a refusal is an answer like any other.
            let said = if stderr.is_empty() { stdout } else { stderr };
            bail!("{role} said: {}", String::from_utf8_lossy(&said).trim());
        }
        Ok(String::from_utf8(stdout)?)
    }

    /// Starts a server whose log goes to `log`, and waits until it has written its address to `address`.
    pub async fn serve<S: AsRef<OsStr>>(
        &self,
        role: &str,
        args: &[S],
        address: &Path,
        log: &Path,
    ) -> anyhow::Result<Server> {
        std::fs::remove_file(address).ok();
        let log_file = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = self.command(role, args);
        command.stdout(log_file.try_clone()?).stderr(log_file);
        let mut server = Server {
            child: command.spawn()?,
            address: String::new(),
        };
        let waited = tokio::time::timeout(START_LIMIT, async {
            loop {
                let text = std::fs::read_to_string(address).unwrap_or_default();
                if let Ok(listening) = text.trim().parse::<SocketAddr>() {
                    return Ok(listening.to_string());
                }
                if let Some(status) = server.child.try_wait()? {
                    bail!("{role} ended at its start ({status}); see {}", log.display());
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "another process can only be looked at again"
                )]
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        server.address = waited.await.context("the server did not start in time")??;
        Ok(server)
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens, `host:port`.
    pub address: String,
}

impl Server {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it the hard way, as a power cut would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits; kills it when it does not.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let stopped = tokio::time::timeout(STOP_LIMIT, async {
            while self.child.try_wait()?.is_none() {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "another process can only be looked at again"
                )]
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        });
        match stopped.await {
            Ok(done) => done,
            Err(_) => self.kill(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
