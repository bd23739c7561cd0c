//! In which order the messages reach Kafka: mostly as things happen, some late, some twice, some malformed.

use rand::Rng;

use super::behaviour::{Day, Event, act, start_of_hour_ms};
use super::company::Company;

/// The shares of events that are sent late, are sent twice, and have a malformed message beside them.
#[derive(Debug, Clone, Copy)]
pub struct Mishaps {
    pub late: f64,
    pub duplicates: f64,
    pub malformed: f64,
}

/// One message for Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When it is sent, in milliseconds since 1970 of the simulated time.
    pub sent_ms: i64,
    pub content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Event(Event),
    /// The same bytes as an event before.
    Repeat(Event),
    /// A message that will be refused, and its number among those.
    Malformed(Event, u64),
}

const HOUR_MS: i64 = 3_600_000;

/// Yields the deliveries of one day after the other, each day's in the order they are sent, and at the end what is still under way.
/// Holds one day's deliveries and the late ones in memory.
pub struct Deliveries<'a> {
    company: &'a Company,
    mishaps: Mishaps,
    next_day: u16,
    under_way: Vec<Delivery>,
    malformed: u64,
    longest_repeat_ms: i64,
}

impl<'a> Deliveries<'a> {
    pub fn new(company: &'a Company, mishaps: Mishaps) -> Self {
        // A repeat comes within the last 1,000,000 events of its partition: up to a day later in companies whose day is much
        // shorter than that, sooner in larger ones, with room for the peak hours.
        let events_a_day = company.members.len() as i64 * 15;
        Self {
            company,
            mishaps,
            next_day: 0,
            under_way: Vec::new(),
            malformed: 0,
            longest_repeat_ms: (24 * HOUR_MS).min(24 * HOUR_MS * 250_000 / events_a_day.max(1)),
        }
    }

    fn simulate(&mut self, index: u16) {
        let day = Day::new(self.company, index);
        let mut events = Vec::new();
        for member in 0..self.company.members.len() {
            let stream = self.company.members[member].stream;
            events.clear();
            let mut rng = self.company.plan.rng(stream, 1 + 2 * u64::from(index));
            act(self.company, member as u32, &day, &mut rng, &mut events);
            if events.is_empty() {
                continue;
            }
            // Drawn apart, so that the shares of mishaps do not change what happens.
            let mut rng = self.company.plan.rng(stream, 2 + 2 * u64::from(index));
            for &event in &events {
                self.deliver(event, &mut rng);
            }
        }
    }

    fn deliver(&mut self, event: Event, rng: &mut impl Rng) {
        let mut sent_ms = event.time_ms + rng.random_range(0..2_000);
        if rng.random_bool(self.mishaps.late) {
            let days_late = rng.random_bool(0.3);
            sent_ms += if days_late {
                rng.random_range(24..120)
            } else {
                rng.random_range(1..24)
            } * HOUR_MS;
        }
        let mut push = |sent_ms, content| self.under_way.push(Delivery { sent_ms, content });
        push(sent_ms, Content::Event(event));
        if rng.random_bool(self.mishaps.duplicates) {
            let soon = rng.random_bool(0.7);
            let delay = rng.random_range(1..if soon { 60_000 } else { self.longest_repeat_ms }.max(2));
            push(sent_ms + delay, Content::Repeat(event));
        }
        if rng.random_bool(self.mishaps.malformed) {
            push(sent_ms, Content::Malformed(event, self.malformed));
            self.malformed += 1;
        }
    }
}

impl Iterator for Deliveries<'_> {
    type Item = Vec<Delivery>;

    fn next(&mut self) -> Option<Vec<Delivery>> {
        let plan = &self.company.plan;
        if self.next_day > plan.days || (self.next_day == plan.days && self.under_way.is_empty()) {
            return None;
        }
        let until_ms = if self.next_day < plan.days {
            start_of_hour_ms(plan.day(self.next_day + 1), 0, &plan.zone)
        } else {
            i64::MAX
        };
        if self.next_day < plan.days {
            self.simulate(self.next_day);
        }
        self.next_day += 1;
        // Stable, so that a repeat never overtakes its event.
        self.under_way.sort_by_key(|delivery| delivery.sent_ms);
        let sent = self.under_way.partition_point(|delivery| delivery.sent_ms < until_ms);
        let later = self.under_way.split_off(sent);
        Some(std::mem::replace(&mut self.under_way, later))
    }
}
