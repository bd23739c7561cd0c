//! `uptake rotate-secret`: makes every stored pseudonym anew under a further line of the secret (docs/privacy.md).

use std::time::{Duration, Instant};

use crate::access::audit::{self, Action, Actor};
use crate::config::Config;
use crate::error::BadInput;
use crate::store::{Store, migrate, rotation};

/// Refuses while a worker runs, as far as that can be seen.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    if store.has_worker().await? {
        let refused =
            "a worker was at work in the last 10 seconds: stop every process of Uptake but ClickHouse, then try again";
        return Err(BadInput::new(refused).into());
    }
    rotate(&store, &config).await
}

/// Says what it does; no other process may run.
pub async fn rotate(store: &Store, config: &Config) -> anyhow::Result<()> {
    let begun = Instant::now();
    let key = config.privacy.pseudonymizer();
    let rotation = rotation::run(store, &key, |table| eprintln!("pseudonyms of {table} …"));
    let rotated = audit::record(
        store,
        Actor::of_command(),
        (Action::RotateSecret, "pseudonyms"),
        rotation,
    )
    .await?;
    println!(
        "the secret is rotated: {} pseudonyms in {} rows made anew in {:.1} s",
        rotated.users,
        rotated.rows,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
