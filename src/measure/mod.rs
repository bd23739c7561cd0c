//! The numbers of product.md: one file for each family, each a typed call of its view in `schemas/clickhouse/numbers`.
//!
//! A request holds only what has been validated; an answer is what the API returns. The views decide what is suppressed,
//! so nothing here can show a group that is too small.

pub mod adoption;
pub mod champions;
pub mod completeness;
pub mod features;
pub mod filter;
pub mod funnels;
pub mod gate;
pub mod group;
pub mod heatmap;
pub mod issues;
pub mod lifecycle;
pub mod list;
pub mod logins;
mod memo;
pub mod paths;
pub mod phases;
pub mod quality;
pub mod reader;
pub mod rejects;
pub mod retention;
pub mod revisions;
pub mod satisfaction;
pub mod stickiness;
pub mod survival;
pub mod system;
pub mod targets;
pub mod time_to_adopt;
pub mod training;
mod under_way;
pub mod window;

pub use filter::{Cut, Filter};
pub use group::{Dimension, GroupKey};
pub use quality::DataQuality;
pub use reader::{Error, Reader};
pub use system::SystemContext;
pub use window::{Frame, Grain, Window, WindowAnswer};

/// Something that is named by one of a few words, in the API and in the views.
pub trait Choice: Copy + Sized + 'static {
    /// Every value, in the order in which an error lists them.
    const ALL: &'static [Self];
    fn word(self) -> &'static str;

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.word() == text)
    }
}
