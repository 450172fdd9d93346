//! What is logged, and how that is changed while the operator runs.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Event, Metadata, Subscriber, span, subscriber::Interest};
use tracing_subscriber::{
    EnvFilter,
    filter::LevelFilter,
    layer::{Context, Filter},
    reload,
};

use super::is_own;

/// A level that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither a level (error, warn, info, debug, trace) nor a filter such as tracesteward=debug,kube=warn")]
pub struct LevelError(String);

/// Which lines are written.
#[derive(Clone, Debug)]
pub struct LogLevel {
    handle: Handle,
    current: Arc<Mutex<String>>,
}

type Swap = dyn Fn(Lines) -> Result<(), reload::Error> + Send + Sync;

#[derive(Clone)]
struct Handle(Arc<Swap>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl LogLevel {
    /// A filter, and the way to change it.
    ///
    /// # Errors
    /// Where `level` is neither a level nor a filter.
    pub(super) fn new<S: Subscriber>(level: &str) -> Result<(reload::Layer<Lines, S>, Self), LevelError>
    where
        EnvFilter: Filter<S>,
    {
        let (filter, handle) = reload::Layer::new(Lines(parse(level)?));
        let handle = Handle(Arc::new(move |lines| handle.reload(lines)));
        Ok((filter, Self { handle, current: Arc::new(Mutex::new(level.to_owned())) }))
    }

    /// The level, or the filter, that is in force.
    pub fn get(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in force, until the process ends. Says which one was before.
    ///
    /// # Errors
    /// Where `level` is neither a level nor a filter: everything stays as it was.
    pub fn set(&self, level: &str) -> Result<String, LevelError> {
        if level.is_empty() {
            return Err(LevelError(String::new()));
        }
        let lines = Lines(parse(level)?);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails only where logging has ended, and there is nobody to be told.
        (self.handle.0)(lines).unwrap_or_default();
        Ok(std::mem::replace(&mut *current, level.to_owned()))
    }
}

fn parse(level: &str) -> Result<EnvFilter, LevelError> {
    // A bare word would be taken for the name of a module, and a misspelt level would silence everything.
    if !level.contains(['=', ',', '[']) {
        LevelFilter::from_str(level).map_err(|_| LevelError(level.to_owned()))?;
    }
    EnvFilter::builder().parse(level).map_err(|_| LevelError(level.to_owned()))
}

/// A filter of lines. The operator's own spans pass it always: a warning has the ids of its request at every level.
#[derive(Debug)]
pub(super) struct Lines(EnvFilter);

impl<S: Subscriber> Filter<S> for Lines
where
    EnvFilter: Filter<S>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_own_span(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked in any case: a filter by the fields of a span learns of its spans here.
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if is_own_span(metadata) { Interest::always() } else { interest }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        Filter::event_enabled(&self.0, event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0).map(|hint| hint.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        Filter::on_close(&self.0, id, context);
    }
}

fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && is_own(metadata)
}
