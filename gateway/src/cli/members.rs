//! `members`: lists who has joined, as verified from the root.

use super::{Place, World, say};

pub(super) async fn run(place: &Place, world: World) -> anyhow::Result<()> {
    let gateway = place.open(world).await?;
    let members = gateway.members.all();
    for known in members.values() {
        let member = &known.member;
        say(format_args!(
            "{:<40} {:<16} {:<10} keys {:<4} {}",
            member.org.as_str(),
            member.kind.as_str(),
            known.state.as_str(),
            member.bindings.len(),
            member.name
        ))?;
    }
    say(format_args!("{} members of {}", members.len(), gateway.network))?;
    gateway.store.close().await;
    Ok(())
}
