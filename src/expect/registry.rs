//! The helpers of a table, by number.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::helper::{Class, Helper, HelperId, MAX_CLASSES, MAX_EXPECTED, Name};
use crate::net::L3;
use crate::timeout::MAX_TIMEOUT;

/// The most helpers of a table.
pub const MAX_HELPERS: usize = 32;

/// Why a helper was not added, or not attached to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelperError {
    /// The table has no room for expectations: `Config::expect_max` is 0.
    Off,
    /// It has no name, or its classes, their limits or their timeouts are not what [`Class`] asks for.
    Classes,
    /// A helper of that name was added before.
    Exists,
    /// There are [`MAX_HELPERS`] already.
    TooMany,
    /// No helper has this number.
    Unknown,
    /// The verdict's connection is not this worker's, or not unconfirmed any more.
    NotUnconfirmed,
    /// The connection is of another protocol, or network layer, than the helper's.
    OtherProtocol,
    /// It has a helper, or a rule has announced a connection for it.
    Attached,
    /// All help records are taken (`Config::helper_max`).
    NoRecord,
}

impl fmt::Display for HelperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "expect_max is 0: the table has no room for expectations",
            Self::Classes => "a helper has a name, 1 to 4 classes, of each 1 to 8 connections (of all no more), and a timeout",
            Self::Exists => "there is a helper of that name already",
            Self::TooMany => "there are 32 helpers already",
            Self::Unknown => "there is no helper of that number",
            Self::NotUnconfirmed => "the connection is not this worker's, or not unconfirmed any more",
            Self::OtherProtocol => "the helper is for connections of another protocol",
            Self::Attached => "the connection has a helper, or expects something, already",
            Self::NoRecord => "all help records are taken: helper_max",
        })
    }
}

impl std::error::Error for HelperError {}

/// A helper, and what it said of itself when it was added.
pub(crate) struct Added {
    pub name: Name,
    pub protocol: u8,
    pub family: Option<L3>,
    classes: [Option<Class>; MAX_CLASSES],
    pub helper: Arc<dyn Helper>,
}

impl Added {
    fn new(helper: Arc<dyn Helper>) -> Option<Self> {
        let (name, given) = (helper.name(), helper.classes());
        let sane = |class: &Class| class.max > 0 && (1..=MAX_TIMEOUT).contains(&class.timeout);
        let all: usize = given.iter().map(|class| usize::from(class.max)).sum();
        let mut classes = [None; MAX_CLASSES];
        let fits = !name.is_none() && !given.is_empty() && given.len() <= MAX_CLASSES;
        if !fits || !given.iter().all(sane) || all > MAX_EXPECTED {
            return None;
        }
        classes.iter_mut().zip(given).for_each(|(to, class)| *to = Some(*class));
        let (protocol, family) = (helper.protocol(), helper.family());
        Some(Self { name, protocol, family, classes, helper })
    }

    pub fn class(&self, class: u8) -> Option<&Class> {
        self.classes.get(usize::from(class))?.as_ref()
    }

    pub fn serves(&self, l3: L3, l4: u8) -> bool {
        self.protocol == l4 && self.family.is_none_or(|family| family == l3)
    }
}

/// A helper once added stays. Looking one up takes no lock.
#[derive(Default)]
pub(crate) struct Registry {
    added: [OnceLock<Added>; MAX_HELPERS],
    /// Of those who add at the same time one comes after the other. No packet waits for it.
    adding: Mutex<()>,
}

impl Registry {
    pub fn add(&self, helper: Arc<dyn Helper>) -> Result<HelperId, HelperError> {
        let added = Added::new(helper).ok_or(HelperError::Classes)?;
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        for (slot, number) in self.added.iter().zip(1..) {
            match slot.get() {
                Some(other) if other.name == added.name => return Err(HelperError::Exists),
                Some(_) => {}
                None => {
                    // Nobody else sets it: `adding` is held.
                    let _ = slot.set(added);
                    return Ok(HelperId(number));
                }
            }
        }
        Err(HelperError::TooMany)
    }

    pub fn get(&self, number: u8) -> Option<&Added> {
        self.added.get(usize::from(number).checked_sub(1)?)?.get()
    }

    pub fn find(&self, name: &str) -> Option<HelperId> {
        let named = |added: &OnceLock<Added>| added.get().is_some_and(|added| added.name.as_str() == name);
        let at = self.added.iter().position(named)?;
        u8::try_from(at + 1).ok().map(HelperId)
    }

    /// The name of the helper with this number; none for 0.
    pub fn name(&self, number: u8) -> Name {
        self.get(number).map_or(Name::NONE, |added| added.name)
    }

    pub fn class_name(&self, number: u8, class: u8) -> Name {
        self.get(number).and_then(|added| added.class(class)).map_or(Name::NONE, |class| class.name)
    }
}
