//! From files to simulations: one after another, with what cannot be read named.

use std::path::{Path, PathBuf};

use super::recording::{self, Recording};
use crate::{
    cli::{
        Exit,
        output::{complain, fail},
    },
    diagnostics::format::visible,
    simulate::read::{Batch, Malformed, Sink},
};

/// The most parts that cannot be read which are named; the others are counted.
const NAMED: u64 = 20;

/// Whatever spans are given to.
pub(super) trait Takes {
    /// Takes in the spans of a resource.
    fn take(&mut self, batch: &Batch<'_>);

    /// Spans so far.
    fn spans(&self) -> u64;
}

/// Spans on their way from recordings into simulations.
pub(super) struct Intake<'a> {
    into: &'a mut dyn Takes,
    strict: bool,
    /// The recording that is being read.
    name: String,
    malformed: u64,
    /// Whether the rest of the recording cannot be read.
    is_cut: bool,
}

/// What came of reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Parts that cannot be read.
    pub(super) malformed: u64,
    pub(super) exit: Exit,
}

impl<'a> Intake<'a> {
    /// Reads all recordings.
    ///
    /// # Errors
    /// Strict, at the first part that cannot be read.
    pub(super) fn read_all(paths: &[PathBuf], strict: bool, into: &'a mut dyn Takes) -> Result<Reading, Exit> {
        let mut intake = Self { into, strict, name: String::new(), malformed: 0, is_cut: false };
        let mut exit = Exit::Success;
        for path in paths {
            exit = exit.max(intake.read(path));
            if strict && exit > Exit::Success {
                return Err(exit);
            }
        }
        let malformed = intake.malformed;
        if malformed > NAMED {
            complain(&format!("{} more parts of the recording cannot be read", malformed - NAMED));
        }
        Ok(Reading { malformed, exit })
    }

    /// The recording that is being read.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Spans so far.
    pub(super) fn spans(&self) -> u64 {
        self.into.spans()
    }

    fn read(&mut self, path: &Path) -> Exit {
        self.name = name_of(path);
        self.is_cut = false;
        let (before, spans) = (self.malformed, self.into.spans());
        let read = Recording::open(path).and_then(|mut recording| recording.read_into(self));
        match read {
            Err(error) => {
                let name = &self.name;
                fail(&format!("{name} cannot be read: {}", recording::words(&error)), Exit::Unreadable)
            }
            Ok(()) if self.into.spans() == spans => {
                complain(&format!("{}: no spans", self.name));
                if self.malformed > before { Exit::Unreadable } else { Exit::Success }
            }
            Ok(()) if self.is_cut || (self.strict && self.malformed > before) => Exit::Unreadable,
            Ok(()) => Exit::Success,
        }
    }
}

/// How a recording is called.
pub(super) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { visible(&path.display().to_string()) }
}

impl Sink for Intake<'_> {
    fn batches(&mut self, batches: &[Batch<'_>]) {
        for batch in batches {
            self.into.take(batch);
        }
    }

    fn malformed(&mut self, malformed: Malformed) -> bool {
        self.malformed += 1;
        let is_last = malformed.is_last;
        self.is_cut |= is_last;
        if self.malformed <= NAMED {
            let Malformed { at, unit, why, .. } = malformed;
            let done = match (is_last, self.strict) {
                (true, _) => "; what comes after it cannot be read",
                (false, true) => "",
                (false, false) => "; it is left out",
            };
            recording::clear_progress();
            complain(&format!("{}: {unit} {at}: {why}{done}", self.name));
        }
        !self.strict
    }
}
