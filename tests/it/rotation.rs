//! Rotating the secret: other pseudonyms, the same users.

use std::collections::BTreeSet;

use uptake::config::Secret;
use uptake::store::rotation::{self, TABLES};

use crate::access::run;
use crate::api::Api;
use crate::erase::Scene;
use crate::harness::Fixture;
use crate::ingest::Worker;

const SECOND: &str = "thirty-two characters of the second line";
const THIRD: &str = "thirty-two characters of the third line";

impl Scene {
    /// Ends the worker, and goes on with a further line of the secret.
    fn add_line(&mut self, line: &str) {
        drop(self.worker.take());
        let privacy = &mut self.api.fixture.config.privacy;
        privacy.secret = Secret::new(format!("{}\n{line}", privacy.secret.expose()));
    }

    /// Where somebody stands; rows of one key may be merged at any time.
    async fn tables_of(&self, user: &str) -> Vec<String> {
        let rows = self.rows_of(user).await;
        rows.into_iter().map(|(table, _)| table).collect()
    }

    /// A worker that told its progress a moment ago is one that may still run.
    async fn forget_worker(&self) {
        self.api.execute("TRUNCATE TABLE ingest_progress").await;
    }

    /// With an API and a worker that have the secret of now.
    async fn serve_anew(self) -> Self {
        let api = Api::serve(self.api.fixture).await;
        let worker = Some(Worker::start(&api.fixture));
        Self { api, worker, ..self }
    }
}

fn told_by(fixture: &Fixture, arguments: &[&str]) -> (Option<i32>, String) {
    let (code, out, log) = run(fixture, arguments);
    (code, out + &log)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_further_line_everybody_has_another_pseudonym_and_is_counted_as_before() {
    let mut scene = Scene::new().await;
    scene.delete("u-2").await;
    let before = scene.totals().await;
    let tables = scene.tables_of("u-3").await;
    assert_eq!(tables, ["ordinals", "roster"]);
    let nothing_new = told_by(&scene.api.fixture, &["rotate-secret"]);
    assert_eq!(nothing_new.0, Some(2), "{}", nothing_new.1);

    scene.add_line(SECOND);
    let (code, told) = told_by(&scene.api.fixture, &["rotate-secret"]);
    assert!(code == Some(2) && told.contains("a worker was at work"), "{told}");
    scene.forget_worker().await;
    for command in [&["ingest"][..], &["api"], &["erase", "u-3"]] {
        let (code, told) = told_by(&scene.api.fixture, command);
        assert!(
            code == Some(2) && told.contains("made without its last line"),
            "{command:?}: {told}"
        );
    }
    assert!(
        scene.tables_of("u-3").await.is_empty(),
        "nobody has the new pseudonyms yet"
    );

    let (code, told) = told_by(&scene.api.fixture, &["rotate-secret"]);
    // Twelve users of whom one was erased: a tombstone and a stand-in.
    assert!(
        code == Some(0) && told.contains("the secret is rotated: 13 pseudonyms"),
        "{told}"
    );
    assert_eq!(scene.tables_of("u-3").await, tables);
    assert_eq!(scene.api.fixture.number("SELECT count() FROM rotating").await, 0);
    let (code, told) = told_by(&scene.api.fixture, &["rotate-secret"]);
    assert!(code == Some(2) && told.contains("nothing to rotate"), "{told}");

    // An API that was not stopped changes nothing under the old pseudonyms.
    let old = scene.api.put("/systems/erp/roster", "text/csv", ROSTER).await;
    assert_eq!(old.0, 500, "{}", old.1);
    let request = scene.api.http.delete(format!("{}/api/v1/users/u-3", scene.api.url));
    assert_eq!(scene.api.send(request).await.0, 500);

    let mut scene = scene.serve_anew().await;
    assert_eq!(scene.totals().await, before);
    scene.assert_reconciled().await;
    // Who was known stays known, who was erased stays erased: also when the topic is read again.
    scene.click("u-2", scene.time).await;
    scene.read_again().await;
    scene.import_roster().await;
    assert_eq!(scene.totals().await, before);
    assert_eq!(
        scene
            .api
            .fixture
            .number("SELECT uniqExact(ordinal) FROM raw_events")
            .await,
        11
    );
    scene.assert_reconciled().await;

    let log = scene.api.ok("/audit").await.to_string();
    assert!(log.contains("rotate_secret"), "{log}");
}

const ROSTER: &str =
    "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\nu-3,person,Sales,,,,,2026-01-01,\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_cut_off_lets_nobody_in_until_it_is_ended() {
    let mut scene = Scene::new().await;
    let before = scene.totals().await;
    let tables = scene.tables_of("u-3").await;
    for (line, last) in [(SECOND, "roster"), (THIRD, "erased")] {
        let old = scene.api.fixture.config.privacy.secret.clone();
        scene.add_line(line);
        scene.forget_worker().await;
        let (store, key) = (
            scene.api.fixture.store.clone(),
            scene.api.fixture.config.privacy.pseudonymizer(),
        );
        let cut_off =
            tokio::spawn(async move { rotation::run(&store, &key, |table| assert_ne!(table, last, "killed")).await });
        assert!(cut_off.await.unwrap_err().is_panic());

        let (_, told) = told_by(&scene.api.fixture, &["erase", "u-3"]);
        assert!(told.contains("was cut off; `uptake rotate-secret` ends it"), "{told}");
        let new = std::mem::replace(&mut scene.api.fixture.config.privacy.secret, old);
        let (code, told) = told_by(&scene.api.fixture, &["erase", "u-3"]);
        assert!(code == Some(2) && told.contains("expected the one by which"), "{told}");
        scene.api.fixture.config.privacy.secret = new;

        let (code, told) = told_by(&scene.api.fixture, &["rotate-secret"]);
        assert!(code == Some(0) && told.contains("12 pseudonyms"), "{told}");
        assert_eq!(scene.tables_of("u-3").await, tables);
        assert_eq!(scene.totals().await, before);
        scene.assert_reconciled().await;
    }
    let leftover =
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'rotated_')";
    assert_eq!(scene.api.fixture.number(leftover).await, 0);
}

/// A column that is added with pseudonyms in it must be rotated too.
#[tokio::test]
async fn every_column_that_can_hold_a_pseudonym_is_rotated() {
    let fixture = Fixture::new().await;
    let sql = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND type = 'FixedString(16)' \
        AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(engine, 'MergeTree'))";
    let columns: Vec<(String, String)> = fixture.store.client().query(sql).fetch_all().await.unwrap();
    let mut columns: BTreeSet<_> = columns
        .iter()
        .map(|(table, name)| (table.as_str(), name.as_str()))
        .collect();
    for held_otherwise in [
        ("retries", "refusal"),
        ("pseudonym_keys", "fingerprint"),
        // Empty when a rotation begins.
        ("erasing", "tombstone"),
        ("erasing", "stand_in"),
        ("rotating", "before"),
        ("rotating", "after"),
    ] {
        assert!(columns.remove(&held_otherwise), "{held_otherwise:?}");
    }
    assert_eq!(columns, BTreeSet::from(TABLES));
}
