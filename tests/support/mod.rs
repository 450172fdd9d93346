//! A real control plane on loopback for the tests of level 2: etcd, kube-apiserver, kube-controller-manager, and the
//! operator as a process beside them; and a real OpenTelemetry Collector with a backend.
//!
//! Include it by `mod support;` in an integration test. Whatever is started here dies with the process that started
//! it, however that ends (see [`process`]).
//! Set `TRACESTEWARD_KEEP` to any value to keep the folder with the logs of every component.
#![allow(dead_code, unused_imports, reason = "every test binary includes this module and uses its own part of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::must_use_candidate,
    reason = "a failing helper is a failing test, and clippy's exception for tests does not reach shared modules"
)]

pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod certs;
pub(crate) mod clock;
pub(crate) mod collector;
pub(crate) mod http;
pub(crate) mod https;
pub(crate) mod kubectl;
pub(crate) mod kwok;
pub(crate) mod openmetrics;
pub(crate) mod operator;
pub(crate) mod otlp;
pub(crate) mod plane;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod relay;
pub(crate) mod tools;
pub(crate) mod wait;

pub(crate) use audit::{Mark, Write, Writes};
pub(crate) use backend::Backend;
pub(crate) use clock::Clock;
pub(crate) use collector::Collector;
pub(crate) use kubectl::Output;
pub(crate) use kwok::Kwok;
pub(crate) use openmetrics::Scrape;
pub(crate) use operator::Operator;
pub(crate) use plane::{ControlPlane, Shape};
pub(crate) use process::Process;
pub(crate) use proxy::Proxy;
pub(crate) use relay::Relay;
pub(crate) use wait::{consistently, eventually};
