//! The catalogue: every code with its severity, its fixed words and its general advice.
//!
//! Families (DESIGN section 5): TRC00xx input that cannot be read, TRC01xx the object alone, TRC02xx references, TRC03xx
//! sampling, TRC04xx conflicts, TRC05xx workloads, TRC06xx the collector. Numbers are never reused.

use std::fmt;

/// Where the page of every code is, followed by the code.
const PAGES: &str = "https://tracesteward.io/docs/codes/";

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is refused or takes no part.
    Error,
    /// It works, but hardly as meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

macro_rules! catalogue {
    ($($code:ident $severity:ident $message:literal $help:literal;)*) => {
        /// A diagnostic code, such as `TRC0101`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::upper_case_acronyms, reason = "codes are written in capitals everywhere")]
        pub enum Code {
            $(#[doc = $message] $code,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The code as users read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The severity that findings of this code have.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }

            /// The fixed words with which every finding of this code begins.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$code => $message,)* }
            }

            /// What to do next, in general.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$code => $help,)* }
            }

            /// The text of its page. Without one, nothing is built: a code that nobody explains helps nobody.
            pub(super) const fn page(self) -> &'static str {
                match self { $(Self::$code => include_str!(concat!("pages/", stringify!($code), ".md")),)* }
            }

            /// What the API server answers where a CEL rule of the CRD refuses an object: `TRC0101: <fixed words>`.
            pub const fn rule_message(self) -> &'static str {
                match self { $(Self::$code => concat!(stringify!($code), ": ", $message),)* }
            }
        }
    };
}

catalogue! {
    TRC0001 Error "input cannot be opened"
        "Check the path and its permissions.";
    TRC0002 Error "input is not UTF-8 text"
        "Save the file as UTF-8; binary files cannot be read.";
    TRC0003 Error "syntax error"
        "Correct the YAML or JSON at this place.";
    TRC0004 Error "the same key twice in one mapping"
        "Remove one of the two: readers disagree about which one counts.";
    TRC0005 Error "input exceeds a limit"
        "Split the input into smaller files, or flatten it.";
    TRC0006 Error "the same object twice in the input"
        "Remove one of the two: which one would win depends on the order in which they are applied.";
    TRC0007 Error "not a Kubernetes object"
        "Give the document an apiVersion, a kind and a metadata.name.";
    TRC0008 Error "unknown kind or version in the API group tracesteward.io"
        "Use one of the kinds of tracesteward.io/v1alpha1.";
    // TRC0009 was said of ClusterTracingPolicies while they were not read.

    TRC0101 Error "enabled without an endpoint: spec.export needs exactly one of endpoint, collectorRef and inherit: true"
        "Set spec.export.endpoint, for example http://otel-collector.observability:4317, or set spec.enabled to false.";
    TRC0102 Error "headersSecretRef is set while tracing is disabled: the Secret would never be used"
        "Set spec.enabled to true, or remove spec.export.headersSecretRef.";
    TRC0103 Error "more than one of endpoint, collectorRef and inherit is set"
        "Keep exactly one of spec.export.endpoint, spec.export.collectorRef and spec.export.inherit.";
    TRC0104 Error "endpoint is not an http or https URL with a host"
        "Write scheme, host and port, for example http://otel-collector.observability:4317.";
    TRC0105 Error "ratio is outside the range from 0 to 1"
        "A ratio is a share of the traces: 0.1 keeps one in ten, 1 keeps all.";
    TRC0106 Error "ratio and profile are both set"
        "Keep one: profile is a name for a ratio.";
    TRC0107 Error "not a positive duration"
        "Write a number and a unit, for example 500ms, 10s or 1m30s.";
    TRC0108 Error "reserved resource attribute: the operator sets it"
        "Use spec.service.name, .namespace or .version; the k8s.* names listed in the docs are derived.";
    TRC0109 Error "a target has both name and selector"
        "Keep one of the two, or write two targets.";
    TRC0110 Error "slowerThan is finer than a millisecond"
        "Write whole milliseconds, for example 250ms or 1.5s.";
    TRC0111 Error "unknown field"
        "Remove the field, or correct its spelling.";
    TRC0112 Error "value of the wrong type"
        "Write a value of the type that the field has.";
    TRC0113 Error "unsupported value"
        "Use one of the supported values.";
    TRC0114 Error "required field is missing"
        "Add the field.";
    TRC0115 Error "value is out of range"
        "Use a value within the limits of the field.";
    TRC0116 Error "not a name that an object can have"
        "Use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit.";
    TRC0117 Error "batchSize is larger than queueSize: SDKs refuse to start with that"
        "Make limits.batchSize at most limits.queueSize (512 and 2048 where one of them is not set).";
    TRC0118 Error "Python instrumentation exports over HTTP only: protocol grpc cannot work"
        "Set spec.export.protocol to http/protobuf (and the endpoint to the collector's HTTP port, usually 4318).";
    TRC0119 Error "no instrumentation can be injected for this language"
        "Set spec.language to python, java, nodejs or dotnet, or remove spec.instrumentation.";
    TRC0120 Warning "the port of the endpoint and the protocol do not belong together"
        "By convention 4317 speaks grpc and 4318 speaks http/protobuf: change one of the two.";
    TRC0121 Warning "timeout without a language: SDKs disagree about its unit"
        "Set spec.language: the Python SDK reads seconds, the others milliseconds.";
    TRC0122 Warning "the endpoint contains user information"
        "Move the credentials into a Secret and name it in spec.export.headersSecretRef.";
    TRC0123 Warning "the endpoint ends in /v1/traces, and SDKs append that themselves"
        "Remove /v1/traces from spec.export.endpoint.";
    TRC0124 Error "not a valid label selector"
        "In and NotIn need values, Exists and DoesNotExist must have none.";
    TRC0125 Error "a sampling rule needs exactly one of route and routePrefix, or a spanName"
        "Set route (literally), routePrefix (its beginning) or spanName (* matches any characters).";
    TRC0126 Warning "a timeout with a fraction of a second is rounded up for Python"
        "Write whole seconds: older releases of the Python SDK fail to start with a fraction.";
    TRC0127 Error "policies and collectors in this namespace are not accepted"
        "kube-* namespaces and the operator's own are never touched: move the object.";

    TRC0128 Error "propagators lists none beside others, or one of them twice"
        "List each propagator once; none stands alone. SDKs refuse to start with anything else.";
    TRC0129 Warning "a propagator that the Python SDK does not bring along"
        "Install its package (for b3: opentelemetry-propagator-b3) in the image: the SDK fails to start without it.";
    TRC0130 Error "a resource attribute without a name, or with one of more than 255 characters"
        "Name the attribute in at most 255 characters: SDKs may drop all attributes because of one that they cannot read.";
    TRC0131 Error "the text contains ${, which the collector would resolve as a reference"
        "Write the text without ${: references to variables and files are not taken from users.";

    TRC0132 Error "a pattern with more than 8 wildcards"
        "Use fewer *: every span of the service is compared with every pattern.";

    TRC0133 Warning "the annotation names a code that cannot be ignored"
        "Name codes of warnings and infos, with commas between them: errors are never left out.";
    TRC0134 Error "service.name is not allowed in a ClusterTracingPolicy: every workload would get the same name"
        "Remove it: a workload's own name is the default, and a TracingPolicy may set another.";
    TRC0135 Error "overrides cannot inherit an export: there is nothing above them"
        "Name an endpoint or a collectorRef in spec.overrides.export, or remove the export there.";
    TRC0136 Warning "fields beside inherit have no effect: the export from above is taken as a whole"
        "Remove them, or name an endpoint: a token must not meet an endpoint that its owner did not choose.";
    TRC0137 Error "not a host: a name such as otel.example.com, or *. and the end of names"
        "Write the host without scheme, port and path.";
    TRC0138 Warning "the policy sets nothing: it has neither defaults nor overrides"
        "Add spec.defaults or spec.overrides, or remove the object.";
    TRC0139 Warning "logs.correlation has no effect: nothing switches it for this language"
        "Remove it, or set spec.language; .NET itself says what a console logger writes, and other SDKs have no switch.";

    TRC0201 Warning "the headers Secret does not exist"
        "Create the Secret in the policy's namespace with the key OTEL_EXPORTER_OTLP_HEADERS; until then spans go out without headers.";
    TRC0202 Warning "the headers Secret has no key OTEL_EXPORTER_OTLP_HEADERS"
        "Add the key; its value has the form name=value,name=value.";
    TRC0203 Warning "a target matches no workload"
        "Check kind, name and labels; selectors look at the labels of the pod template.";
    TRC0204 Warning "no selected workload has a container of this name"
        "Check spec.containers against the names in the pod templates.";
    TRC0205 Warning "the TracingCollector does not exist"
        "Create it, or set spec.export.endpoint.";
    TRC0206 Warning "there is no export to inherit"
        "Ask the platform team for a ClusterTracingPolicy with an export, or set spec.export.endpoint.";
    TRC0207 Error "the TracingCollector does not allow policies of this namespace"
        "Ask its owner to allow the namespace in spec.allowedNamespaces, or set spec.export.endpoint.";
    TRC0208 Warning "the TracingCollector is not valid"
        "Correct the TracingCollector; until then workloads stay as they are.";
    TRC0209 Warning "the Secret of a backend's header does not exist"
        "Create it in the collector's namespace; until then a new configuration waits.";
    TRC0210 Warning "the Secret of a backend's header has no such key"
        "Add the key, or correct spec.backends[].headers[].secretKeyRef.key.";
    TRC0211 Warning "the Secret of a backend's header has a value that cannot be sent as it is"
        "The collector resolves $$ and ${ in values of variables, and cannot send line breaks: change the value.";

    TRC0212 Error "the host of the endpoint is not allowed"
        "Send to one of the hosts in overrides.allowedEndpointHosts of the ClusterTracingPolicy, or ask the platform team for this one.";

    TRC0301 Warning "tail rules without a TracingCollector: nothing applies them"
        "Export to a TracingCollector (spec.export.collectorRef), or remove spec.sampling.tail.";
    TRC0302 Warning "keep rules see only what the head ratio lets through"
        "Leave the head ratio at 1 and let the collector decide: set spec.sampling.tail.ratio instead.";
    TRC0303 Warning "the rule never applies: an earlier one matches the same spans"
        "Remove it, or put the more precise rule first: the first match counts.";
    TRC0304 Warning "ratios without effect: keep.always keeps every trace"
        "Remove keep.always, or the ratios.";
    TRC0305 Error "the sampling rules take more than a quarter of what a configuration can hold, and are left out"
        "Use fewer or shorter rules, or fewer services in one policy: each service carries all of them.";

    TRC0306 Warning "ratios without effect: the collector keeps every trace of the service"
        "Take the service out of the collector's spec.sampling.keep.services, or remove the ratios.";
    TRC0307 Info "a ratio below the collector's baseline holds only for traces in which no other service offers more"
        "Nothing to do where requests end in this service; else lower the baseline, or the ratios of the services that call it.";
    TRC0308 Warning "the keep rule changes nothing: the collector keeps these traces anyway"
        "Change the collector's spec.sampling.keep, or remove the rule from the policy.";
    TRC0309 Warning "head and tail ratios multiply"
        "Leave the head ratio at 1 where the collector samples, or leave the tail to keep what arrives.";

    TRC0401 Info "another policy applies to this workload"
        "More specific targets win, then the higher priority, then the older policy.";
    TRC0402 Warning "two policies have sampling rules for one service: the collector follows one of them"
        "Give the services different names, or let one policy select both workloads.";

    TRC0403 Warning "two policies of the same rank set the same field differently: the older one wins"
        "Give one of them a higher spec.priority, so that the order does not depend on which was created first.";
    TRC0404 Error "settings of several policies do not go together"
        "Change one of the policies that are named; until then the workload stays as it is.";
    TRC0405 Info "a ClusterTracingPolicy overrides what this policy sets"
        "Nothing to do, or ask the platform team; `tracesteward explain` shows what is in force.";

    TRC0501 Info "the container sets this variable itself, so it is left alone"
        "Remove the variable from the workload to let the policy set it.";
    TRC0502 Warning "the container lists the same variable twice"
        "Remove one of the two: client-side apply and Argo CD cannot handle duplicates.";
    TRC0503 Warning "the container takes variables from a source that cannot be seen (envFrom)"
        "The policy's variables win over those of envFrom: list any OTEL_* variable of that source in env to keep it.";
    TRC0504 Warning "one service.name for several workloads"
        "Set serviceName in each target, or drop spec.service.name: the workload's name is the default.";
    TRC0505 Warning "the container is not instrumented"
        "Remove what keeps the instrumentation out, name other containers in spec.containers, or take an image with an SDK.";
    TRC0506 Warning "somebody else has changed the injected instrumentation; it is left so"
        "Let the other manager leave it alone: what it holds is never taken back, and the policy's changes do not reach it.";

    TRC0601 Error "no backend for traces"
        "Name at least one in spec.backends, for example {name: tempo, endpoint: http://tempo.default.svc:4317}.";
    TRC0602 Error "version outside the range that is known: 0.140 to 0.155"
        "Use a version of that range: names and semantics of the collector's configuration change between versions.";
    TRC0603 Error "two backends of the same name"
        "Give each backend a name of its own.";
    TRC0604 Error "from: Selector and a selector belong together"
        "Set both allowedNamespaces.from: Selector and allowedNamespaces.selector, or neither.";
    TRC0605 Error "not a quantity, or two that exclude each other"
        "Write a quantity such as 512Mi, 1Gi or 500m; of minAvailable and maxUnavailable keep one.";
    TRC0606 Error "the configuration does not fit a ConfigMap"
        "Use fewer rules, or share the load between several TracingCollectors: a ConfigMap ends at 1 MiB.";
    TRC0607 Error "a port is used twice"
        "Give grpcPort and httpPort different ports; 8888 (metrics) and 13133 (health) are taken.";
    TRC0608 Error "not the name of an HTTP header"
        "Use letters, digits, '-' and '_'.";
    TRC0609 Error "the same header twice"
        "Keep one of the two; capitals make no difference.";
    TRC0610 Error "an endpoint of OTLP over gRPC has a path"
        "Remove the path, or set protocol: http/protobuf.";
    TRC0611 Error "a dimension twice, or one that is always there"
        "List each attribute once; service.name, span.name, span.kind and status.code are there anyway.";
    TRC0612 Error "not a name that the objects of a collector can be called after"
        "Use at most 40 lower-case letters, digits and '-', beginning with a letter.";
    TRC0613 Error "a persistent queue needs management Managed"
        "Remove spec.queue.storage, or let the operator run the collector.";
    TRC0614 Warning "decisionWait is rounded up to whole seconds"
        "Write whole seconds: the collector decides once a second.";
    TRC0615 Warning "metrics of spans, and no backend that takes metrics"
        "Add metrics to the signals of a backend, or remove spec.spanMetrics.";
    TRC0616 Error "the memory limit is too small for a collector"
        "Allow at least 64Mi.";
    TRC0617 Warning "the attribute has another name in other versions of the semantic conventions"
        "List both names: which one is sent depends on the version of the SDK.";
    TRC0618 Error "longer than 15 minutes"
        "Write a shorter time: spans wait in the collector's memory for so long.";
    TRC0619 Warning "sampling looks at this attribute, and no longer finds it as it was sent"
        "Leave it out of spec.scrub: rules about services, routes and HTTP status would never match.";
}

impl Code {
    /// The code with this name; small letters will do.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }

    /// The codes whose names are nearest to this one, the nearest first; none where it is nothing like a code.
    pub fn nearest(name: &str) -> Vec<Self> {
        let name = name.to_ascii_uppercase();
        let distance = |code: &Self| strsim::osa_distance(code.as_str(), &name);
        let mut near: Vec<_> = Self::ALL.iter().copied().filter(|code| distance(code) <= 2).collect();
        near.sort_by_key(distance);
        near.truncate(3);
        near
    }

    /// What to say where a name is no code: `<name> is no code; did you mean ...?`
    pub fn unknown(name: &str) -> String {
        let near: Vec<_> = Self::nearest(name).into_iter().map(Self::as_str).collect();
        let (first, last) = (Self::ALL.first(), Self::ALL.last());
        match (near.as_slice(), first, last) {
            ([], Some(first), Some(last)) => format!("{name} is no code: codes are like {first} or {last}"),
            _ => format!("{name} is no code; did you mean {}?", near.join(" or ")),
        }
    }

    /// The address of the page about this code.
    pub fn url(self) -> String {
        format!("{PAGES}{self}")
    }

    /// Whether findings of this code mean that the input could not be read at all (TRC00xx; exit code 3).
    pub fn is_unreadable(self) -> bool {
        self.severity() == Severity::Error && self.as_str().starts_with("TRC00")
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_found_by_name() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        assert_eq!(Code::parse("TRC0101"), Some(Code::TRC0101));
        assert_eq!(Code::parse("trc0101"), Some(Code::TRC0101));
        assert_eq!(Code::parse("TRC9999"), None);
        assert_eq!(Code::TRC0101.url(), "https://tracesteward.io/docs/codes/TRC0101");
        assert!(Code::TRC0003.is_unreadable() && !Code::TRC0101.is_unreadable());
    }

    #[test]
    fn the_nearest_codes_are_named() {
        for (name, nearest) in [("TRC101", Code::TRC0101), ("trc0503", Code::TRC0503), ("TRC0110 ", Code::TRC0110)] {
            assert_eq!(Code::nearest(name).first(), Some(&nearest), "{name}");
        }
        assert_eq!(Code::nearest("Deployment"), []);
        assert_eq!(Code::unknown("TRC101"), "TRC101 is no code; did you mean TRC0101 or TRC0001 or TRC0102?");
        assert_eq!(
            Code::unknown("x"),
            format!("x is no code: codes are like TRC0001 or {}", Code::ALL.last().unwrap())
        );
    }
}
