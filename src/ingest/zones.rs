//! The time zones of the defined systems, as the workers see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::calendar::Zone;
use crate::store::Store;

const REFRESH: Duration = Duration::from_secs(1);

/// A system's zone under its name. Events of a system that is not defined are counted in UTC under the name ''.
#[derive(Debug)]
pub struct SystemZone {
    pub name: String,
    pub zone: Zone,
}

impl SystemZone {
    fn undefined() -> Self {
        Self {
            name: String::new(),
            zone: Zone::utc(),
        }
    }
}

/// One state of all definitions. Replaced whole, never changed.
#[derive(Debug)]
pub struct Zones {
    /// A few names, looked up for every event: without a hash that is quicker.
    by_system: BTreeMap<String, SystemZone>,
    undefined: SystemZone,
}

impl Default for Zones {
    fn default() -> Self {
        Self {
            by_system: BTreeMap::new(),
            undefined: SystemZone::undefined(),
        }
    }
}

impl Zones {
    pub async fn load(store: &Store) -> anyhow::Result<Self> {
        let sql = "SELECT system, argMax(zone, version) FROM systems GROUP BY system";
        let mut zones = Self::default();
        for (system, name) in store.client().query(sql).fetch_all::<(String, String)>().await? {
            match Zone::named(&name) {
                Ok(zone) => drop(zones.by_system.insert(system, SystemZone { name, zone })),
                // Definitions are validated when they are applied; this is a zone that only a newer program knows.
                Err(error) => tracing::error!(system, %error, "the system is counted in UTC"),
            }
        }
        Ok(zones)
    }

    pub fn of(&self, system: &str) -> &SystemZone {
        self.by_system.get(system).unwrap_or(&self.undefined)
    }

    /// The systems whose zone is another one in `newer`.
    pub fn changed_in<'a>(&'a self, newer: &'a Zones) -> impl Iterator<Item = &'a str> {
        let systems = newer.by_system.keys().chain(self.by_system.keys());
        systems
            .map(String::as_str)
            .filter(|system| self.of(system).name != newer.of(system).name)
    }
}

/// Keeps `zones` fresh until shutdown. A failed refresh keeps the last state: events stored under an old zone are found and
/// derived again (`store::rebuild`).
pub async fn refresh(store: Store, zones: watch::Sender<Arc<Zones>>, shutdown: CancellationToken) {
    while shutdown
        .run_until_cancelled(tokio::time::sleep(REFRESH))
        .await
        .is_some()
    {
        match Zones::load(&store).await {
            Ok(fresh) => {
                zones.send_if_modified(|current| {
                    let changed = current.changed_in(&fresh).next().is_some();
                    if changed {
                        *current = Arc::new(fresh);
                    }
                    changed
                });
            }
            Err(error) => tracing::debug!(
                error = format!("{error:#}"),
                "the system definitions cannot be read now"
            ),
        }
    }
}
