//! Every number against a second reading of `product.md`: written from its definitions, in memory, with nothing but loops over
//! lists, and compared with what the API answers about random worlds whose events went through Kafka.
//!
//! `UPTAKE_REFERENCE_SEED=7 UPTAKE_REFERENCE_WORLDS=20 cargo test --test it reference` looks at worlds 7 to 26.

mod compare;
mod features;
mod flows;
mod gates;
mod people;
mod trained;
mod world;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

use crate::api::Api;
use crate::collector::BATCH;
use crate::harness::eventually;
use crate::ingest::Worker;
use world::{END, FIRST, World};

pub const BY: [&str; 5] = ["unit", "role", "tier", "site", "phase"];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_what_the_definitions_say() {
    let setting = |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect(name));
    let first: u64 = setting("UPTAKE_REFERENCE_SEED", 1);
    for seed in first..first + setting("UPTAKE_REFERENCE_WORLDS", 3) {
        let world = World::random(seed);
        let (api, _worker) = stored(&world, seed).await;
        let mut wrong = Vec::new();
        for (path, expected) in questions(&world, seed) {
            let answer = api.ok(&format!("/systems/erp/{path}")).await;
            let differences = compare::differences(&expected, &answer);
            if !differences.is_empty() {
                wrong.push(format!("{path}\n  {}", differences.join("\n  ")));
            }
        }
        for (path, expected) in filtered_questions(&world, seed) {
            let answer = api.ok(&format!("/systems/erp/{path}")).await;
            let differences = compare::differences(&compare::as_far_as_told(&expected, &answer), &answer);
            if !differences.is_empty() {
                wrong.push(format!("{path}\n  {}", differences.join("\n  ")));
            }
        }
        assert!(
            wrong.is_empty(),
            "world {seed}, of {}:\n{}",
            world.zone,
            wrong.join("\n")
        );
    }
}

/// The world as an installation knows it once everything has been counted.
async fn stored(world: &World, seed: u64) -> (Api, Worker) {
    let api = crate::collector::start(|config| {
        config.privacy.min_group_size = world.min_group_size as u32;
        // The world's days are to stay within it for years.
        config.retention.raw_days = 2_500;
        config.retention.user_months = 100;
        config.retention.aggregate_months = 100;
    })
    .await;
    let definition = world.definition().to_string();
    let parts = [
        ("", "application/json", definition),
        ("/roster", "text/csv", world.roster_file()),
    ];
    for (path, kind, body) in parts {
        let (status, answer) = api.put(&format!("/systems/erp{path}"), kind, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let trainings = world.training_file();
    assert_eq!(api.put("/systems/erp/training", "text/csv", &trainings).await.0, 200);
    let worker = Worker::start(&api.fixture);
    for batch in world.messages(seed).chunks(1_000) {
        let request = api.post("/events").header("content-type", BATCH);
        let (status, answer) = api.send(request.body(Value::from(batch.to_vec()).to_string())).await;
        assert_eq!(status, 202, "{answer}");
    }
    let events = world.events.len() as u64;
    eventually("every event is counted", async || {
        api.fixture.number("SELECT uniqExact(identity) FROM raw_events").await == events
            && api
                .fixture
                .number("SELECT toUInt64(count() > 0 AND sum(toInt64(end_offset) - toInt64(committed_offset)) = 0) FROM ingest_progress FINAL")
                .await
                == 1
    })
    .await;
    (api, worker)
}

/// Paths below the system, and what the answer must hold.
fn questions(world: &World, seed: u64) -> Vec<(String, Value)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let mut questions = Vec::new();
    for _ in 0..6 {
        let (from, to) = window(rng);
        let days = format!("from={from}&to={to}");
        for by in ["none", BY.choose(rng).unwrap()] {
            for measure in ["active", "login"] {
                questions.push((
                    format!("adoption?{days}&by={by}&measure={measure}"),
                    world.adoption(from, to, by, measure, None),
                ));
            }
            questions.push((format!("logins?{days}&by={by}"), world.logins(from, to, by)));
            questions.push((format!("satisfaction?{days}&by={by}"), world.satisfaction(from, to, by)));
        }
        let grain = ["day", "week", "month"].choose(rng).unwrap();
        let by = BY.choose(rng).unwrap();
        questions.push((
            format!("adoption?{days}&by={by}&grain={grain}"),
            world.adoption(from, to, by, "active", Some(grain)),
        ));
        questions.push((format!("stickiness?{days}"), world.stickiness(from, to)));
        questions.push((format!("retention?{days}"), world.retention(from, to)));
        questions.push((format!("features?{days}"), world.feature_ranking(from, to)));
        questions.push((format!("heatmap/hours?{days}"), world.hours(from, to)));
        for by in ["unit", "role"] {
            questions.push((
                format!("heatmap/features?{days}&by={by}"),
                world.feature_heatmap(from, to, by),
            ));
        }
        questions.push((format!("issues?{days}"), world.issues(from, to)));
        questions.push((format!("completeness?{days}"), world.completeness(from, to)));
        questions.push((format!("training?{days}"), world.training(from, to)));
        let steps: Vec<_> = world
            .catalogue()
            .choose_multiple(rng, 3)
            .map(|feature| feature.key.as_str())
            .collect();
        let hours = rng.random_range(1..200);
        let path = format!("funnels?{days}&steps={}&within={hours}h", steps.join(","));
        questions.push((path, world.funnel(from, to, &steps, hours)));
        questions.push((
            format!("paths?{days}&after={}&limit=100", steps[0]),
            world.paths(from, to, steps[0]),
        ));
        questions.push((
            format!("features/{}/time-to-adopt?{days}", steps[1]),
            world.time_to_adopt(from, to, steps[1]),
        ));
    }
    for month in [8, 10] {
        let by = BY.choose(rng).unwrap();
        questions.push((
            format!("champions?month=2026-{month:02}&by={by}"),
            world.champions(Date::constant(2026, month, 1), by),
        ));
    }
    for _ in 0..6 {
        let on = FIRST.saturating_add(rng.random_range(20..150).days());
        let by = BY.choose(rng).unwrap();
        questions.push((format!("lifecycle?on={on}&by={by}"), world.lifecycle(on, by)));
        questions.push((format!("phases?on={on}&days=100"), world.phase_comparison(on, 100)));
        for (phase, go_live) in world.phases.iter().filter(|(_, go_live)| *go_live <= on) {
            questions.push((format!("phases/{phase}/gate?on={on}"), world.gate(phase, *go_live, on)));
        }
    }
    questions
}

/// The same of some of the people.
fn filtered_questions(world: &World, seed: u64) -> Vec<(String, Value)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rng = &mut rng;
    let mut questions = Vec::new();
    for _ in 0..6 {
        let filter = filter(world, rng);
        let asked: String = filter.iter().map(|(by, value)| format!("&{by}={value}")).collect();
        let world = world.asked_about(&filter);
        let (from, to) = window(rng);
        let alone = world.alone(from, to);
        let days = format!("from={from}&to={to}{asked}");
        let by = BY.choose(rng).unwrap();
        questions.push((
            format!("adoption?{days}&by={by}"),
            world.adoption(from, to, by, "active", None),
        ));
        questions.push((format!("logins?{days}&by={by}"), world.logins(from, to, by)));
        questions.push((format!("satisfaction?{days}&by={by}"), world.satisfaction(from, to, by)));
        questions.push((
            format!("heatmap/features?{days}&by=role"),
            world.feature_heatmap(from, to, "role"),
        ));
        questions.push((format!("features?{days}"), world.feature_ranking(from, to)));
        questions.push((format!("stickiness?{days}"), alone.stickiness(from, to)));
        questions.push((format!("retention?{days}"), alone.retention(from, to)));
        questions.push((format!("heatmap/hours?{days}"), alone.hours(from, to)));
        let steps: Vec<_> = world
            .catalogue()
            .choose_multiple(rng, 2)
            .map(|feature| feature.key.as_str())
            .collect();
        let path = format!("funnels?{days}&steps={}&within=48h", steps.join(","));
        questions.push((path, alone.funnel(from, to, &steps, 48)));
        questions.push((
            format!("features/{}/time-to-adopt?{days}", steps[1]),
            world.time_to_adopt(from, to, steps[1]),
        ));
        let on = from.saturating_add(20.days());
        questions.push((format!("lifecycle?on={on}&by={by}{asked}"), world.lifecycle(on, by)));
        let month = Date::constant(2026, 10, 1);
        questions.push((
            format!("champions?month=2026-10&by={by}{asked}"),
            world.champions(month, by),
        ));
    }
    questions
}

/// One or two dimensions, sometimes with two values.
fn filter(world: &World, rng: &mut ChaCha8Rng) -> Vec<(&'static str, String)> {
    let value = |by: &'static str, rng: &mut ChaCha8Rng| (by, world.roster.choose(rng).unwrap().groups[by].clone());
    let dimensions = rng.random_range(1..=2);
    let dimensions: Vec<_> = BY.choose_multiple(rng, dimensions).copied().collect();
    let mut filter: Vec<_> = dimensions.into_iter().map(|by| value(by, rng)).collect();
    if rng.random_bool(0.3) {
        let other = value(filter[0].0, rng);
        filter.extend((other != filter[0]).then_some(other));
    }
    filter
}

/// Mostly a few weeks; sometimes a day, or nearly everything.
fn window(rng: &mut ChaCha8Rng) -> (Date, Date) {
    let length = *[1, 7, 10, 28, 28, 31, 60, 140].choose(rng).unwrap();
    let from = FIRST.saturating_add(rng.random_range(-5..150).days());
    let to = from.saturating_add(length.days());
    let today = Timestamp::now().in_tz("UTC").unwrap().date();
    (
        from,
        to.min(END.saturating_add(5.days()))
            .min(today)
            .max(from.saturating_add(1.day())),
    )
}
