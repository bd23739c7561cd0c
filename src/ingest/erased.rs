//! The tombstones of erased users, as the workers see them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::erasure::Tombstones;

/// An erasure waits longer than this before it relies on them.
const REFRESH: Duration = Duration::from_secs(1);

/// Keeps `tombstones` fresh until shutdown. What is stored while they cannot be read is erased by the next erasure of the same user only.
pub async fn refresh(store: Store, tombstones: watch::Sender<Arc<Tombstones>>, shutdown: CancellationToken) {
    while shutdown
        .run_until_cancelled(tokio::time::sleep(REFRESH))
        .await
        .is_some()
    {
        match store.tombstones().await {
            Ok(fresh) => {
                tombstones.send_if_modified(|current| {
                    let changed = **current != fresh;
                    if changed {
                        *current = Arc::new(fresh);
                    }
                    changed
                });
            }
            Err(error) => tracing::debug!(
                error = format!("{error:#}"),
                "the tombstones of erased users cannot be read now"
            ),
        }
    }
}
