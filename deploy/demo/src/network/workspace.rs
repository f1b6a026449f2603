//! The workspaces of the demo: where each one is, and links that sign somebody in.
//! Called by `main` once the network is up. Opens none of them by itself.

use super::Network;
use crate::cast::Org;
use anyhow::Context as _;

/// Whom a link signs in: of a small group one person does everything, of a practice as well while a demo is shown.
const NAME: &str = "Demo colleague";
const ROLES: &str = "coordinator,auditor,admin";

impl Network {
    /// Where an organisation's workspace is, such as `http://127.0.0.1:43211`.
    pub fn workspace(&self, org: Org) -> anyhow::Result<String> {
        let node = self.nodes.get(org.id).context("no such organisation")?;
        let address = std::fs::read_to_string(node.data_dir.join("web"));
        Ok(address.context("the workspace is not there")?.trim().to_owned())
    }

    /// A link that signs one browser in at an organisation's workspace, once, within half an hour.
    pub fn sign_in_link(&self, org: Org) -> anyhow::Result<String> {
        let node = self.nodes.get(org.id).context("no such organisation")?;
        let data = node.data_dir.to_string_lossy().into_owned();
        let listed = self
            .stage
            .run("node", &["colleague", "list", "--data", &data, "--json"])?;
        let found = listed.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line["name"] == NAME).then(|| line["colleague_id"].as_str().map(str::to_owned))?
        });
        let made = match &found {
            Some(id) => self
                .stage
                .run("node", &["colleague", "link", id, "--data", &data]),
            None => {
                let add = [
                    "colleague",
                    "add",
                    "--name",
                    NAME,
                    "--role",
                    ROLES,
                    "--data",
                    &data,
                ];
                self.stage.run("node", &add)
            }
        };
        let made = made?;
        let link = made.lines().find(|line| line.contains("/sign-in/"));
        Ok(link.context("no link was printed")?.trim().to_owned())
    }
}
