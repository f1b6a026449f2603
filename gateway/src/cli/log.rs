//! `log`: where the gateway's log stands, by which key witnesses know it, and which forks were seen.

use super::{Place, World, say};
use crate::gateway::Gateway;
use crate::witnessing;
use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::Note;
use kith_proto::log::origin::Keeper;
use kith_service::log::seen;

pub(super) async fn run(place: &Place, world: World) -> anyhow::Result<()> {
    let gateway = place.open(world).await?;
    let told = tell(&gateway).await;
    gateway.store.close().await;
    told
}

async fn tell(gateway: &Gateway) -> anyhow::Result<()> {
    let epoch = gateway.log.newest().await?;
    let in_force = gateway.policy();
    say(format_args!(
        "log      {}",
        witnessing::log_key(gateway, epoch.number)
    ))?;
    let cosigner = Keeper::Gateway.witness_key(&gateway.network, gateway.keys.signing.public());
    say(format_args!("cosigns  {cosigner}"))?;
    say(format_args!("size     {}", epoch.frontier.size()))?;
    for (what, note) in [("offered", &epoch.offered), ("counted", &epoch.counted)] {
        let line = match note {
            None => String::from("none yet"),
            Some(note) => stands(gateway, note, epoch.number)?,
        };
        say(format_args!("{what}  {line}"))?;
    }
    let policy = &in_force.policy;
    say(format_args!(
        "policy   number {}, {} of {} witnesses",
        policy.number(),
        policy.threshold(),
        policy.witnesses().len()
    ))?;
    let forks = gateway
        .store
        .read("forks", |mut tx| async move { seen::forks(&mut tx).await })
        .await?;
    for fork in &forks {
        say(format_args!(
            "fork     of {}, seen at {} ms; these two notes prove it:\n{}\n{}",
            fork.origin, fork.seen_at_ms, fork.held, fork.offered
        ))?;
    }
    say(format_args!("{} forks of other logs were seen", forks.len()))
}

/// The size of a checkpoint, and who has cosigned it.
fn stands(gateway: &Gateway, note: &Note, epoch: u64) -> anyhow::Result<String> {
    let (checkpoint, standing): (Checkpoint, _) =
        witnessing::standing(gateway, &gateway.policy(), epoch, note)?;
    Ok(format!("{}, {standing}", checkpoint.head().size))
}
