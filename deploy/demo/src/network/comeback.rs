//! A node in a new data folder: its tokens and its consent text, and its computer changed for another. Called by `network` and by the tests
//! of restores.

use super::Network;
use crate::cast::Org;
use crate::process::Server;
use anyhow::Context as _;
use kith_node::grants::DEMO_REVIEWER;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The roles a token is made for.
const ROLES: [&str; 4] = ["referrer", "coordinator", "auditor", "admin"];

impl Network {
    /// Makes a token of each role in a data folder and stands for its consent text; gives the tokens.
    pub fn prepare(&self, data: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let mut tokens = BTreeMap::new();
        for role in ROLES {
            let made = ["token", "new", "--role", role, "--label", "demo", "--data", data];
            let printed = self.stage.run("node", &made)?;
            let token = printed.lines().next().context("no token was printed")?.trim();
            tokens.insert(role.to_owned(), token.to_owned());
        }
        self.review_statement(data)?;
        Ok(tokens)
    }

    /// From now on an organisation's node is the one in another data folder, with other tokens where its own did not come along. Gives the
    /// process of the one before, where that still runs.
    pub fn change_node(
        &mut self,
        org: Org,
        data_dir: PathBuf,
        tokens: Option<BTreeMap<String, String>>,
    ) -> anyhow::Result<Option<Server>> {
        let node = self.nodes.get_mut(org.id).context("no such organisation")?;
        node.data_dir = data_dir;
        node.address = super::free_address()?;
        if let Some(tokens) = tokens {
            node.tokens = tokens;
        }
        Ok(node.server.take())
    }

    /// Moves the clock of every process forward from the true time.
    pub fn set_clock(&self, ahead_ms: i64) -> anyhow::Result<()> {
        Ok(std::fs::write(
            self.folder.join(crate::clock::FILE),
            ahead_ms.to_string(),
        )?)
    }

    /// Stands for the English consent text as people of a real organisation must: reads it, and repeats its hash.
    fn review_statement(&self, data: &str) -> anyhow::Result<()> {
        let shown = self
            .stage
            .run("node", &["statement", "show", "--json", "--data", data])?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let hash = shown["text_hash"].as_str().context("the text has no hash")?;
        let review = [
            "statement",
            "review",
            "--hash",
            hash,
            "--by",
            DEMO_REVIEWER,
            "--data",
            data,
        ];
        self.stage.run("node", &review)?;
        Ok(())
    }
}
