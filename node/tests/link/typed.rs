//! What people type about the logs, beside a running node. Never more than exit codes here: sentences are tested where they are made.

use std::process::ExitCode;

use kith_node::cli;
use kith_service::rng::Rng;

use crate::gateway::T0;
use crate::host::Story;

impl Story {
    /// Whether a command ends well.
    async fn types(&self, words: &[&str]) -> bool {
        let config = &self.host.joining.config;
        let data = config.folder.path().display().to_string();
        let line = ["kith-node", "--data", &data]
            .into_iter()
            .chain(words.iter().copied());
        let arguments: Vec<std::ffi::OsString> = line.map(Into::into).collect();
        let ended = cli::run(arguments, self.host.joining.clock.clone(), Rng::system()).await;
        format!("{ended:?}") == format!("{:?}", ExitCode::SUCCESS)
    }
}

#[tokio::test]
async fn doctor_fails_on_an_alarm_and_four_words_are_shown_of_believed_keys_only() {
    let mut story = Story::begin().await;
    let peer = story.peer("riverside-gp");
    assert!(!story.types(&["organisations", "show", "riverside-gp"]).await);
    let stream = story.gateway.greeted(vec![]).await;
    while story.host.node.members.keys_of(&peer.org, T0).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(story.types(&["organisations", "show", "riverside-gp"]).await);
    assert!(!story.types(&["organisations", "show", "nobody-here"]).await);
    assert!(!story.types(&["organisations", "show", "Nobody, here"]).await);
    assert!(story.types(&["doctor"]).await);
    assert!(story.types(&["status"]).await);
    story.gateway.inner.logs.lock().unwrap().shown = Some(1);
    stream.break_off().await;
    story.gateway.greeted(vec![]).await;
    story.host.link_is("stopped").await;
    assert!(!story.types(&["doctor"]).await);
    assert!(story.types(&["status", "--json"]).await);
}
