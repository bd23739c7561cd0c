//! Who asks, and what they may do: bearer tokens of this installation, access tokens of an OpenID Connect provider, limits.
//!
//! ```text
//! header ─► gate ─► tokens | oidc (keys) ─► caller ─► limits
//! ```
//!
//! The HTTP side of it, which routes ask for which right, is in `api::auth`.

pub mod audit;
mod caller;
pub mod command;
mod gate;
mod keys;
mod limits;
mod oidc;
mod secret;
mod tokens;

pub use caller::{Caller, Right, Scope, Who};
pub use gate::{Denied, Gate};
pub use limits::{Limits, Wait};
