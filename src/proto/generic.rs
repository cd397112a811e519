//! Every protocol without a tracker of its own: known by its addresses alone, and refreshed by every packet.

use super::Step;
use crate::timeout::Tunables;

/// Any packet, the first or a further one.
pub fn step(tunables: &Tunables) -> Step {
    Step::refresh(tunables.generic_timeout)
}
