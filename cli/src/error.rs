//! What ends the command: one line each.

use std::fmt;
use std::io;
use std::path::Path;

use conntab::config::ConfigError;

use crate::capture::CaptureError;
use crate::trace::Problem;

#[derive(Debug)]
pub(crate) enum Error {
    Open { file: String, source: io::Error },
    Capture { file: String, source: CaptureError },
    Scenario { file: String, source: Problem },
    NotPlayed { failed: usize, files: usize },
    Table(ConfigError),
    Output(io::Error),
}

impl Error {
    pub(crate) fn open(file: &Path, source: io::Error) -> Self {
        Self::Open { file: file.display().to_string(), source }
    }

    pub(crate) fn scenario(file: &Path, source: Problem) -> Self {
        Self::Scenario { file: file.display().to_string(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { file, source } => write!(f, "{file}: {source}"),
            Self::Capture { file, source } => write!(f, "{file}: {source}"),
            Self::Scenario { file, source } => write!(f, "{file}: {source}"),
            Self::NotPlayed { failed, files } => write!(f, "{failed} of {files} scenarios were not played"),
            Self::Table(e) => write!(f, "the table cannot be made: {e}"),
            Self::Output(e) => write!(f, "writing failed: {e}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { source, .. } | Self::Output(source) => Some(source),
            Self::Capture { source, .. } => Some(source),
            Self::Scenario { source, .. } => Some(source),
            Self::NotPlayed { .. } => None,
            Self::Table(e) => Some(e),
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

impl From<ConfigError> for Error {
    fn from(e: ConfigError) -> Self {
        Self::Table(e)
    }
}
