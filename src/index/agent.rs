//! The instrumentation that can be injected: the names under which it is in a pod.

use crate::api::Language;

/// The volume that holds the files of the instrumentation.
pub const AGENT_VOLUME: &str = "tracesteward-instrumentation";

/// A language for which instrumentation can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Agent {
    /// Python.
    Python,
    /// Java.
    Java,
    /// Node.js.
    Nodejs,
    /// .NET.
    Dotnet,
}

impl Agent {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Python, Self::Java, Self::Nodejs, Self::Dotnet];

    /// The one for a language, where there is one.
    pub const fn of(language: Language) -> Option<Self> {
        match language {
            Language::Python => Some(Self::Python),
            Language::Java => Some(Self::Java),
            Language::Nodejs => Some(Self::Nodejs),
            Language::Dotnet => Some(Self::Dotnet),
            Language::Go | Language::Other => None,
        }
    }

    /// As the API spells the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Java => "java",
            Self::Nodejs => "nodejs",
            Self::Dotnet => "dotnet",
        }
    }

    /// The init container that copies the files.
    pub const fn init_container(self) -> &'static str {
        match self {
            Self::Python => "tracesteward-python",
            Self::Java => "tracesteward-java",
            Self::Nodejs => "tracesteward-nodejs",
            Self::Dotnet => "tracesteward-dotnet",
        }
    }

    /// Where the files are in the containers.
    pub const fn mount_path(self) -> &'static str {
        match self {
            Self::Python => "/otel-auto-instrumentation-python",
            Self::Java => "/otel-auto-instrumentation-java",
            Self::Nodejs => "/otel-auto-instrumentation-nodejs",
            Self::Dotnet => "/otel-auto-instrumentation-dotnet",
        }
    }
}
