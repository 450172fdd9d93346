//! What is wrong with an input, where, and what to do next. Pure.
//!
//! A [`Diagnostic`] names a field of an object by [`FieldPath`]; where that object came from a file, `source` finds the
//! line and column. The words of every [`Code`] stand once, in `codes`: the CRD's CEL rules, the controller and the CLI
//! all take them from there.

mod codes;
pub mod format;
pub mod pages;
mod path;
pub mod source;

pub use codes::{Code, Severity};
pub use format::{Located, Place};
pub use path::{FieldPath, Segment};

/// One finding about one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// What kind of finding this is; severity and fixed words follow from it.
    pub code: Code,
    /// The object that the finding is about, where there is one.
    pub object: Option<ObjectId>,
    /// The field at fault; empty for the object as a whole.
    pub path: FieldPath,
    /// What is wrong. Begins with the code's fixed words.
    pub message: String,
    /// What to do next.
    pub help: String,
}

/// The identity of a Kubernetes object as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The kind, such as `TracingPolicy`.
    pub kind: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Diagnostic {
    /// A finding with the fixed words of its code.
    pub fn new(code: Code, path: FieldPath) -> Self {
        Self { code, object: None, path, message: code.message().to_owned(), help: code.help().to_owned() }
    }

    /// Adds what is particular to this finding: `<fixed words>: <detail>`.
    #[must_use]
    pub fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.message = format!("{}: {}", self.code.message(), detail.as_ref());
        self
    }

    /// Replaces the code's general advice by one that fits this finding.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Says before the general advice why the finding is true here.
    #[must_use]
    pub fn proof(mut self, proof: impl AsRef<str>) -> Self {
        self.help = format!("{} {}", proof.as_ref(), self.code.help());
        self
    }

    /// Names the object that the finding is about.
    #[must_use]
    pub fn on(mut self, object: ObjectId) -> Self {
        self.object = Some(object);
        self
    }

    /// The severity, which follows from the code.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}
